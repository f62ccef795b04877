/* A step's anatomy: number and name, the talk's sentence, plain words, the formula, the numbers, and
   one line that says what to look at. Beside the name the row of the table biological ↔ artificial
   that it belongs to. */

import { make } from "../picture/elements.js";
import { filled } from "./writing.js";

/* step: {key, name, said: numbers of the finding's steps, networks, look}. context: {pass,
   place, content, …}; what `draw` gives is {known, formula, stage, board}. */
export function drawStep(step, draw, number, context) {
  const { said, networks } = context.content;
  const quoted = step.said.map((at) => said[at - 1]);
  const { known = {}, formula = null, stage, board = null, own = [] } = draw(context);
  const facts = { ...context.known, ...known };
  const chosen = step.sentences
    ? quoted.flatMap(({ words }) => words).filter((text) => step.sentences.test(text))
    : quoted.flatMap(({ words }) => words);
  const sentences = [...own, ...chosen.map((text) => filled(text, facts)).filter(Boolean)];
  const talk = (step.quote ?? step.said).map((at) => said[at - 1].talk);
  return [
    make(
      "header",
      { className: "step-head" },
      make("h2", { id: `${step.key}-title` }, make("span", { className: "step-number", textContent: String(number) }), ` ${step.name}`),
      pairs(step.networks.map((name) => networks.find((row) => row[0] === name))),
    ),
    make(
      "div",
      { className: "telling" },
      ...talk.map((text) => make("blockquote", { textContent: `“${text}”` })),
      make("div", { className: "words" }, ...sentences.map((text) => make("p", { textContent: text }))),
      formula && board.formula(formula),
      make("p", { className: "look" }, make("b", { textContent: "Look at " }), context.content.looks[step.key] ?? step.look),
    ),
    make("div", { className: "stage" }, ...stage.filter(Boolean)),
    board && board.element,
  ].filter(Boolean);
}

function pairs(rows) {
  if (!rows.length) return null;
  const line = ([what, biological, artificial]) =>
    make("div", {}, make("span", { textContent: `${what}: ` }), biological, " ↔ ", make("b", { textContent: artificial }));
  return make("div", { className: "pairs", title: "biological ↔ artificial" }, ...rows.map(line));
}

/* Something that this pass does not hold. */
export function missing(context, what) {
  const text = context.content.more ? `${what} is not in this file. ${context.content.more}` : `${what} is not here.`;
  return make("p", { className: "note", textContent: text });
}

/* Matrices, each with what leads to it before its name: row("·", W, "→", q). */
export function row(...children) {
  const out = [];
  let operator = null;
  for (const child of children) {
    if (typeof child === "string") operator = make("span", { className: "operator", textContent: child });
    else {
      if (operator) child.querySelector("figcaption").prepend(operator);
      operator = null;
      out.push(child);
    }
  }
  return make("div", { className: "equation" }, ...out);
}

export function shapes(text) {
  return make("p", { className: "shapes", textContent: text });
}

/* Buttons that play something: rewind, one step, play and pause. state: {at, end, show(at, moved)}. */
export function player(name, end, first, show) {
  let at = first;
  let timer = null;
  const go = (to, moved = true) => {
    at = Math.max(0, Math.min(end, to));
    show(at, moved);
    forward.disabled = at === end;
    back.disabled = rewind.disabled = at === 0;
    count.textContent = `${at} of ${end}`;
    if (at === end) stop();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  const tick = () => {
    if (play.isConnected) go(at + 1);
    else stop();
  };
  const button = (text, label, onclick) =>
    make("button", { type: "button", className: "option", textContent: text, "aria-label": `${label}: ${name}`, onclick });
  const rewind = button("«", "Rewind", () => (stop(), go(0)));
  const back = button("‹", "One step back", () => (stop(), go(at - 1)));
  const play = button("Play", "Play or pause", () => {
    if (timer) return stop();
    if (at === end) go(0);
    play.textContent = "Pause";
    timer = setInterval(tick, 900);
  });
  const forward = button("›", "One step", () => (stop(), go(at + 1)));
  const count = make("span", { className: "count" });
  go(first, false);
  return { element: make("div", { className: "player", role: "group", "aria-label": name }, rewind, back, play, forward, count), go };
}
