/* A token's text as children: the space that it begins with, and the rest, which is what an outline
   goes around. */

import { make } from "../../picture/elements.js";

export function parted(text) {
  const space = text.trim() ? text.slice(0, text.length - text.trimStart().length) : "";
  return [space, make("span", { className: space ? "outlined" : "outlined joined", textContent: text.slice(space.length) })];
}
