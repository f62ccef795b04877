/* The page of a walk: on a machine of its own where the document brings one, else on what was
   recorded. */

import { Machine } from "../machine/machine.js";
import { drawAgain } from "../picture/colour.js";
import { choice, make } from "../picture/elements.js";
import { onOneLine, useGlyphs } from "../picture/notation.js";
import { LivePass, RecordedPass } from "./pass.js";
import { STEPS } from "./steps.js";
import { Walk } from "./walk.js";

const content = JSON.parse(document.getElementById("content").textContent);
useGlyphs(content.glyphs);
const root = document.documentElement;
const main = document.getElementById("main");

function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  drawAgain();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
const toggle = choice("Theme", ["auto", "light", "dark"], (i) => setTheme(["", "light", "dark"][i]));
const about = make("p", { className: "subtitle", textContent: onOneLine(content.subtitle) });
main.before(
  make("header", { className: "walk-title" }, make("div", {}, make("h1", { textContent: "From a text to the next token" }), about), toggle),
);

const machine = content.machine ? new Machine(content.machine) : null;
const first = machine ? new LivePass(machine, content.text, content.ids) : new RecordedPass(content.recorded);
const walk = new Walk({
  host: main,
  content,
  pass: first,
  place: content.place,
  type: machine && ((text) => walk.use(new LivePass(machine, text))),
  feed: machine && feed,
});

function feed(ids) {
  const pass = new LivePass(machine, "", ids);
  const typed = machine.read(pass.text);
  const same = String(typed.all) === String(ids);
  walk.input.value = pass.text;
  walk.use(same ? new LivePass(machine, pass.text) : pass);
}

/* For tests, and for whoever opens the browser's console. */
globalThis.pellucid = { content, walk, machine, steps: STEPS.map((step) => step.key) };
