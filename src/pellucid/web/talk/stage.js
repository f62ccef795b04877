/* Frames that are a step of the walk, at the size of a hall: the step is drawn as on the walk's page,
   and each beat brings some of its matrices and parts to the front. Nothing is computed here. */

import { make } from "../picture/elements.js";
import { written } from "../picture/notation.js";
import { DRAWERS as STEP_DRAWERS } from "../walk/drawers.js";
import { STEPS } from "../walk/steps.js";
import { filled } from "../walk/writing.js";
import { networks, waits } from "./table.js";
import { cited, dictionary, far, fed, input, lines, plainly, sizes } from "./words.js";

const DRAWERS = { networks, far, fed, sizes, input, cited, dictionary, tokens, heads, layers, loop };

/* frame, context → {body, beats, show(beat), board}: context is {pass, place, content, memory, known,
   choose, feed, turn(beat), compose()}. */
export function draw(frame, context) {
  if (frame.kind) return DRAWERS[frame.kind](frame, context, taken);
  return frame.step ? figures(frame, context) : lines(frame, context);
}

/* The place of a frame's step among the twelve, and the rows of the comparison that belong to it. */
export function walkPlace(frame, networks) {
  const at = STEPS.findIndex(({ key }) => key === frame.step);
  if (at < 0) return null;
  const rows = STEPS[at].networks.map((name) => networks.find(([what]) => what === name));
  return { number: at + 1, of: STEPS.length, rows };
}

/**
 * A step of the walk, taken apart: part(name) is a matrix's figure by its symbol, or what has a class.
 * @returns {any}
 */
function taken(frame, context) {
  const drawn = STEP_DRAWERS[frame.step](context);
  const whole = make("div", {}, ...drawn.stage.filter(Boolean));
  const parts = new Map();
  const part = (name) => {
    if (!parts.has(name)) parts.set(name, name.startsWith(".") ? whole.querySelector(name) : drawn.board?.matrices.get(name)?.figure);
    return parts.get(name);
  };
  const named = [...(drawn.board?.matrices.keys() ?? [])];
  for (const symbol of named) part(symbol);
  return { ...drawn, part, named, known: { ...context.known, ...drawn.known } };
}

function figures(frame, context) {
  const { board, formula, part, named, known, play, moments } = taken(frame, context);
  const beats = frame.beats.flatMap((beat) => (beat.plays ? [...Array(moments + 1).keys()].map((at) => ({ ...beat, at })) : [beat]));
  const written = board.formula(frame.code ?? formula);
  written.classList.toggle("code", Boolean(frame.code));
  for (const [symbol, buttons] of board.symbols)
    for (const button of buttons) button.onclick = () => context.turn(beats.findIndex((beat) => meant(beat, symbol)));
  const says = make("p", { className: "says", "aria-live": "polite" });
  const stage = make("div", { className: "figures" });
  let now = beats[0];
  const light = board.light.bind(board);
  board.light = (symbol) => light(symbol ?? now.light ?? null); /* nothing pointed at: what is meant */
  return {
    board,
    body: [
      frame.code ? make("div", { className: "beside-code" }, written, says) : written,
      frame.code ? null : says,
      stage,
      board.element,
    ].filter(Boolean),
    beats: beats.length,
    show(at) {
      const beat = (now = beats[at]);
      says.textContent = filled(beat.says, known) ?? "";
      stage.replaceChildren(...terms(beat.show, part, named));
      if (beat.plays) play(beat.at, beat.at > 0);
      else play?.(moments, false);
      point(board, beat, context.place.position);
    },
  };
}

function meant({ light, point, show }, symbol) {
  return light === symbol || point === symbol || (!light && show.includes(symbol));
}

/* Of each name a matrix, a part, or all matrices of a kind ("z*"); what is neither is a sign, which
   stays with what follows it. */
function terms(names, part, named) {
  const out = [];
  let sign = "";
  for (const name of names) {
    const kind = name.endsWith("*") ? named.filter((symbol) => symbol.startsWith(name[0]) && /^\d+$/.test(symbol.slice(1))) : [name];
    const found = kind.map((each) => part(each)).filter(Boolean);
    if (!found.length) sign = name;
    for (const element of found) {
      const mark = make("span", { className: "sign", textContent: sign, "aria-hidden": "true" });
      out.push(make("div", { className: "term" }, names.length > 1 ? mark : null, element));
      sign = "";
    }
  }
  return out;
}

/* One cell worked out without a hand: in the followed row, the largest that can be seen. */
function point(board, beat, row) {
  board.clear();
  waits(board.element, !beat.point);
  if (beat.point) {
    const { view } = board.matrices.get(beat.point);
    const { spec } = view;
    const at = Math.min(row, spec.values.shape[0] - 1);
    const values = Array.from({ length: spec.values.shape[1] }, (_, j) => spec.values.at(at, j));
    const finite = values.map((value) => (Number.isFinite(value) ? value : -Infinity));
    const best = finite.indexOf(Math.max(...finite));
    view.slide(at, best);
    board.point(spec, at, best);
  }
  if (beat.light) board.light(beat.light);
}

/* Token after token with its id, then how merges made them. */
function tokens(frame, context) {
  const { part } = taken(frame, context);
  const { pass } = context;
  const cards = pass.pieces.map(({ id, shown }) =>
    make("li", {}, make("b", { className: "token", textContent: shown }), make("span", { textContent: String(id) })),
  );
  const out = pass.left.map(({ shown }) => make("li", { className: "out" }, make("b", { className: "token", textContent: shown }), "–"));
  const merging = part(".merging");
  const how = make(
    "div",
    { className: "how-merged" },
    make("p", { className: "says", textContent: "Bytes joined pair by pair; the pair that was learned first goes first." }),
    merging,
  );
  const body = [make("ol", { className: "cards" }, ...cards, ...out), pass.words && merging ? how : null].filter(Boolean);
  return {
    body: pass.note ? [make("p", { className: "note", textContent: pass.note }), ...body] : body,
    beats: cards.length + body.length,
    show(beat) {
      cards.forEach((card, i) => waits(card, i >= beat));
      for (const card of out) waits(card, beat < cards.length);
      waits(how, beat <= cards.length);
    },
  };
}

/* Head after head: the function that is called, and where it looks. */
function heads(frame, context) {
  const { part } = taken(frame, context);
  const grid = part(".head-grid");
  const thumbs = [...grid.children];
  thumbs.forEach((thumb, head) => {
    thumb.querySelector("b").textContent = `selfAttention(embeddings, head${head}Weights, d_k)`;
    thumb.setAttribute("aria-label", `head ${head}: ${thumb.querySelector("span").textContent}`);
  });
  const { n_head, n_layer } = context.pass.hparams;
  const says = make("p", {
    className: "says",
    textContent: `${n_head} heads in each of ${n_layer} layers, all at once, each with weights of its own. Here layer ${context.place.layer}.`,
  });
  return { body: [says, grid], beats: thumbs.length, show: (beat) => thumbs.forEach((thumb, i) => waits(thumb, i > beat)) };
}

/* layer 1 outputEmbeds ⇒ layer 2 inputEmbeds …, and the ladder. */
function layers(frame, context) {
  const { part } = taken(frame, context);
  const { n_layer } = context.pass.hparams;
  const flow = [...Array(n_layer).keys()].map((layer) =>
    make(
      "li",
      {},
      make("code", { textContent: `layer ${layer} outputEmbeds` }),
      " ⇒ ",
      make("code", { textContent: layer + 1 < n_layer ? `layer ${layer + 1} inputEmbeds` : "output layer" }),
    ),
  );
  const ladder = part(".ladder");
  const asked = part(".caption");
  asked.className = "says";
  const last = [asked, ladder];
  return {
    body: [make("ol", { className: "flow" }, ...flow), ...last],
    beats: n_layer + 1,
    show(beat) {
      flow.forEach((line, i) => waits(line, i > beat));
      for (const element of last) waits(element, beat < n_layer);
    },
  };
}

/* The window, filling. */
function loop(frame, context) {
  const { part, play, moments } = taken(frame, context);
  const { pass } = context;
  const whole = make("p", { className: "growing" });
  return {
    body: [whole, part(".window"), part(".shapes"), part(".loop-said"), part(".predicted-bars")],
    beats: moments + 1,
    show(beat) {
      play(beat, beat > 0);
      const steps = pass.loop().steps.slice(0, beat);
      whole.replaceChildren(
        make("span", { className: "given", textContent: pass.text }),
        ...steps.map(({ token, share }) =>
          make("span", { className: "comes", textContent: plainly(pass.show(token)), title: written(share, "percent") }),
        ),
      );
    },
  };
}
