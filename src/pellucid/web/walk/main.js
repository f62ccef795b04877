/* The page of a walk: on a machine of its own where the document brings one, else on what was
   recorded. */

import { Machine } from "../machine/machine.js";
import { make } from "../picture/elements.js";
import { onOneLine, useGlyphs } from "../picture/notation.js";
import { followSystem, themeSwitch } from "../picture/theme.js";
import { readAddress, writeAddress } from "./address.js";
import { DRAWERS } from "./drawers.js";
import { LivePass, RecordedPass } from "./pass.js";
import { STEPS } from "./steps.js";
import { Walk } from "./walk.js";

const content = JSON.parse(document.getElementById("content").textContent);
useGlyphs(content.glyphs);
const main = document.getElementById("main");

followSystem();
const about = make("p", { className: "subtitle", textContent: onOneLine(content.subtitle) });
main.before(
  make(
    "header",
    { className: "walk-title" },
    make("div", {}, make("h1", { textContent: "From a text to the next token" }), about),
    themeSwitch(),
  ),
);

const machine = content.machine ? new Machine(content.machine) : null;
const asked = readAddress(location.hash);
const walk = new Walk({
  host: main,
  content,
  pass: opening(),
  drawers: DRAWERS,
  place: { ...content.place, ...(asked.text === null ? {} : { position: Infinity }), ...asked.place },
  type: machine && ((text) => walk.use(new LivePass(machine, text))),
  feed: machine && feed,
  onplace: keepAddress,
});
if (STEPS.some(({ key }) => key === asked.step)) walk.section(asked.step).scrollIntoView();

/* What the address names, where the model is here to make it; else what the page was written for. */
function opening() {
  if (!machine) return new RecordedPass(content.recorded);
  const { n_ctx, n_vocab } = machine.hparams;
  if (asked.ids?.length <= n_ctx && asked.ids.every((id) => id < n_vocab)) return new LivePass(machine, "", asked.ids);
  if (asked.text !== null) return new LivePass(machine, asked.text);
  return new LivePass(machine, content.text, content.ids);
}

function keepAddress() {
  const { pass, place, step } = walk;
  const ids = machine && !pass.words ? pass.pieces.map(({ id }) => id) : null;
  history.replaceState(null, "", writeAddress({ text: machine ? pass.text : null, ids, place, step }));
}

function feed(ids) {
  const pass = new LivePass(machine, "", ids);
  const typed = machine.read(pass.text);
  const same = String(typed.all) === String(ids);
  walk.input.value = pass.text;
  walk.use(same ? new LivePass(machine, pass.text) : pass);
}

/* For tests, and for whoever opens the browser's console. */
globalThis.pellucid = { content, walk, machine, steps: STEPS.map((step) => step.key) };
