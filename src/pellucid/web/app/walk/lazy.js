/* What draws each step, fetched when it comes near the screen: as drawers.js, step by step. */

import { input, tokenization } from "../../walk/steps_text.js";

/* Those that are here. */
export const here = { input, tokenization };

const FILES = {
  embeddings: () => import("../../walk/steps_embeddings.js"),
  norm: () => import("../../walk/steps_attention.js"),
  heads: () => import("../../walk/steps_heads.js"),
  layers: () => import("../../walk/steps_out.js"),
  loop: () => import("../../walk/steps_loop.js"),
};
const OF = { attention: "norm", concat: "heads", output: "heads", mlp: "layers", prediction: "layers" };

export function bringAll() {
  return Promise.all([...Object.keys(FILES), ...Object.keys(OF)].map(bring));
}

/* → a promise that a step's is here. */
export async function bring(key) {
  const made = await FILES[OF[key] ?? key]();
  here[key] = made[key];
}
