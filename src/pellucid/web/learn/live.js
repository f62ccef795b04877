/* The page of a run while it goes on, and later: `pellucid train --page`, `pellucid learned --page`. */

import { counted, useGlyphs } from "../picture/notation.js";
import { framed, listen } from "./frame.js";
import { Learned } from "./view.js";

const main = document.getElementById("main");
const known = { view: null, points: new Map(), ended: false };
globalThis.pellucid = known;

/* The whole state anew: moments have come. */
async function load() {
  const { glyphs, learned } = await (await fetch("data")).json();
  if (learned.waiting) {
    main.textContent = "Waiting for the first moment of the training …";
    return;
  }
  useGlyphs(glyphs);
  if (known.view) known.view.use(learned);
  else {
    known.view = new Learned({ host: framed(learned), data: learned });
    listen(known.view);
  }
  follow([]);
}

/* More steps: the curve goes on before the next moment comes. */
function follow(steps) {
  for (const [step, loss] of steps) known.points.set(step, loss);
  const { view } = known;
  if (!view || view.data.done) return;
  const newest = Math.max(...known.points.keys());
  if (!Number.isFinite(newest)) return;
  view.curve.use(
    [...known.points].sort((a, b) => a[0] - b[0]),
    view.heldOut,
  );
  view.state.textContent = `It is learning: step ${counted(newest)} of ${counted(view.data.total)}, loss ${known.points.get(newest).toFixed(3)}.`;
}

/* Once more after what is under way, however often it is asked for meanwhile. */
let [loading, again] = [null, false];

function reload() {
  again = true;
  loading ??= loadAll().finally(() => (loading = null));
  return loading;
}

async function loadAll() {
  try {
    while (again) {
      again = false;
      await load();
    }
  } catch {
    gone("The page's program has ended; what it showed stays.");
  }
}

function gone(text) {
  source.close();
  known.ended = true;
  if (known.view) known.view.state.textContent = text;
  else main.textContent = text;
}

const source = new EventSource("events");
source.addEventListener("steps", ({ data }) => follow(JSON.parse(data)));
source.addEventListener("moments", reload);
source.addEventListener("end", async ({ data }) => {
  source.close();
  const { last, done } = JSON.parse(data);
  await loading;
  const state = known.view?.data;
  if (state?.done !== done || (last !== null && state.steps.at(-1) !== last)) await reload();
  if (known.view && !known.view.data.done)
    gone(`The run was stopped after step ${counted(known.view.data.steps.at(-1))}, or goes on unseen.`);
  known.ended = true;
});
source.onerror = () => {
  if (!known.ended) gone("The run has ended, or its page has: what was shown stays. pellucid learned RUN --page shows it again.");
};
reload();
