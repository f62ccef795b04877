/* Frames that are not one step of the walk: words, the chatbot from far, the sizes, the dictionary,
   the works cited. Each drawer takes a frame and a context (walk.js) and gives {body, beats, show}:
   elements, how many moments it has, and what shows one of them. */

import { make } from "../picture/elements.js";
import { written } from "../picture/notation.js";
import { waits } from "./table.js";

/* Without the mark of the space: as one reads it. */
export function plainly(shown) {
  return shown.replace(/␣/g, " ");
}

export function lines(frame, _context) {
  const all = (frame.lines ?? []).map((text) => make("p", { className: "line", textContent: text }));
  const late = frame.open ? [] : all;
  return { body: all, beats: late.length + 1, show: (beat) => late.forEach((line, i) => waits(line, beat <= i)) };
}

/* A text goes into a box, a token comes out. */
export function far(_frame, { pass }) {
  const [first] = pass.loop().steps;
  const inside = ["input layer", "intermediate layers", "output layer"].map((text) => make("li", { textContent: text }));
  const box = make("ol", { className: "machine" }, ...inside);
  const out = first
    ? [make("b", { textContent: plainly(pass.show(first.token)) }), make("small", { textContent: written(first.share, "percent") })]
    : [make("small", { textContent: `nothing: ${pass.loop().reason}` })];
  const parts = [
    make("p", { className: "quoted", textContent: `“${pass.text}”` }),
    make("span", { className: "sign", textContent: "→", "aria-hidden": "true" }),
    box,
    make("span", { className: "sign", textContent: "→", "aria-hidden": "true" }),
    make("p", { className: "comes" }, ...out),
  ];
  const until = [0, 1, 1, 2, 2];
  return {
    body: [make("div", { className: "from-far" }, ...parts)],
    beats: 3,
    show: (beat) => parts.forEach((part, i) => waits(part, until[i] > beat)),
  };
}

/* One token out, all of it fed back in, the next token out. */
export function fed(_frame, { pass }) {
  const { steps, reason } = pass.loop();
  const words = [steps.length ? `${pass.text} +` : pass.text, ...steps.map(({ token }) => plainly(pass.show(token)))].map((text, i) =>
    make("span", { className: i ? "comes" : "given", textContent: text }),
  );
  const back = make("p", { className: "back", "aria-live": "polite" });
  return {
    body: [make("p", { className: "growing" }, ...words), back],
    beats: 1 + Math.max(1, 2 * steps.length - 1),
    show(beat) {
      const out = Math.ceil(beat / 2);
      words.forEach((word, i) => {
        waits(word, i > out);
        word.classList.toggle("again", i <= out && beat > 0 && beat % 2 === 0);
      });
      const whole = beat >= 2 * steps.length - 1;
      if (!steps.length) back.textContent = `It ends at once: ${reason}.`;
      else if (whole) back.textContent = `It ends: ${reason}.`;
      else back.textContent = beat > 0 && beat % 2 === 0 ? "… are fed back in" : "";
    },
  };
}

/* The hyperparameters, line by line: GPT-2's beside this model's. */
export function sizes(_frame, { content, pass }) {
  const heads = ["", "", "GPT-2 (2019)", pass.model || "this model"];
  const rows = content.sizes.map(([name, about, ...numbers]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", { textContent: name })),
      make("td", { className: "what", textContent: about }),
      ...numbers.map((text) => make("td", { className: "number", textContent: text })),
    ),
  );
  const table = make(
    "table",
    { className: "sizes" },
    make("thead", {}, make("tr", {}, ...heads.map((text) => (text ? make("th", { scope: "col", textContent: text }) : make("td"))))),
    make("tbody", {}, ...rows),
  );
  return {
    body: [table],
    beats: rows.length,
    show(beat) {
      rows.forEach((row, i) => {
        waits(row, i > beat);
        row.classList.toggle("now", i === beat);
      });
    },
  };
}

export function input(_frame, { pass, compose }) {
  const typed = make("p", { className: "typed", textContent: `“${pass.text}”` });
  const note = pass.note ? make("p", { className: "note", textContent: pass.note }) : null;
  const button = make("button", { type: "button", className: "option", textContent: "Type another sentence", onclick: compose });
  return { body: [typed, note, make("p", {}, button)].filter(Boolean), beats: 1, show() {} };
}

/* The two sentences that say the same, then the dictionary itself. */
export function dictionary(frame, context, drawStep) {
  const [dense, plain] = [3, 4].map((number) =>
    make("p", { className: "line", textContent: `“${context.content.said[number - 1].talk}”` }),
  );
  const same = make("p", { className: "same", textContent: "===" });
  const { part, known } = drawStep(frame, context);
  const opened = make(
    "div",
    { className: "figures" },
    part(".dictionary"),
    make("p", { className: "says", textContent: `“${known.name}” is number ${known.id}: it gets row ${known.id}.` }),
  );
  const parts = [dense, same, plain, opened];
  return { body: parts, beats: 4, show: (beat) => parts.forEach((element, i) => waits(element, i > beat)) };
}

export function cited(frame) {
  const items = frame.works.map(({ title, by, link }) =>
    make(
      "li",
      {},
      make("a", { href: link, target: "_blank", rel: "noopener noreferrer", textContent: title }),
      make("span", { textContent: by }),
    ),
  );
  return { body: [make("ul", { className: "cited" }, ...items)], beats: 1, show() {} };
}
