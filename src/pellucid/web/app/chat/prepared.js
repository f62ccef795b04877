/* Before anything is said: the talk's own sentence, which the model `talk` goes on with, alive in the
   page; and below it the walk of that sentence. Also without a server. */

import { make } from "../../picture/elements.js";
import { quoted, written } from "../../picture/notation.js";
import { LivePass } from "../../walk/pass.js";
import { parted } from "./token.js";

/* The sentence of a selection: `live` holds the ids that it begins with. */
export function liveSentence(info, live = null) {
  const machine = info.machine();
  const { n_ctx, n_vocab } = machine.hparams;
  const given = (live ?? "").split(",").map(Number);
  const fits = live && given.length < n_ctx && given.every((id) => Number.isInteger(id) && id >= 0 && id < n_vocab);
  const ids = fits ? given : machine.read(info.content.text).ids;
  const { steps, reason } = machine.greedy(ids);
  const whole = [...ids, ...steps.map(({ token }) => token)];
  return { machine, ids, steps, reason, whole, text: (id) => machine.tokenizer.text(id) };
}

/* → the sentence as an element; each generated token is to be opened. pulse: the last word asks for
   it, once. */
export function drawSentence(sentence, { token, choose, pulse }) {
  const { ids, steps, text } = sentence;
  const { stops } = sentence.machine;
  const given = ids.map((id) => make("span", { className: "piece", textContent: text(id) }));
  const last = pulse ? steps.length - 1 : -1;
  const made = steps.map((step, i) => {
    const share = Math.exp(step.logprob);
    const about = {
      className: `tok${stops.has(step.token) ? " ending" : ""}${i === token ? " open" : ""}${i === last ? " calling" : ""}`,
      role: "button",
      tabIndex: i === (token ?? 0) ? 0 : -1,
      "data-i": i,
      title: `${quoted(text(step.token))}, ${written(share, "percent")}`,
    };
    const span = make("span", about, ...parted(stops.has(step.token) ? "▪" : text(step.token)));
    span.style.setProperty("--surprise", (1 - share).toFixed(3));
    return span;
  });
  const line = make(
    "p",
    { className: "text live-sentence", role: "group", "aria-label": "The talk's sentence, token by token" },
    ...given,
    ...made,
  );
  const pick = (i, focus) => {
    if (!made[i]) return;
    choose(i);
    if (focus) /** @type {HTMLElement} */ (document.querySelector(`.live-sentence [data-i="${i}"]`))?.focus();
  };
  line.onclick = (event) => {
    const span = event.target.closest(".tok");
    if (span) pick(Number(span.dataset.i));
  };
  line.onkeydown = (event) => {
    const span = event.target.closest(".tok");
    if (!span) return;
    const by = { ArrowLeft: -1, ArrowRight: 1, Enter: 0, " ": 0 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    pick(Number(span.dataset.i) + by, true);
  };
  return line;
}

/* The pass behind a token of it: what the model had before it. */
export function passBefore(sentence, token) {
  return new LivePass(sentence.machine, "", sentence.whole.slice(0, sentence.ids.length + token));
}

/* The walk of the sentence's beginning, below everything else. */
export async function walkBelow(host, info) {
  const [{ Walk }, { bring, here }] = await Promise.all([import("../../walk/walk.js"), import("../walk/lazy.js")]);
  const machine = info.machine();
  if (!host.isConnected) return null;
  const inner = make("div", { className: "walk-host" });
  host.replaceChildren(
    make("h2", { className: "below-title", textContent: "From a text to the next token" }),
    make("p", { className: "subtitle", textContent: `${info.content.subtitle}; it runs in this page: type another text.` }),
    inner,
  );
  const walk = new Walk({
    host: inner,
    content: info.content,
    drawers: here,
    bring,
    pass: new LivePass(machine, info.content.text),
    type: (text) => walk.use(new LivePass(machine, text)),
    feed: (ids) => walk.use(new LivePass(machine, "", ids)),
  });
  stayHere(inner, walk);
  return walk;
}

/* Links to a step scroll there; the address is the page's. */
export function stayHere(host, walk, onstep = (_) => {}) {
  host.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-step]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    walk.section(link.dataset.step).scrollIntoView();
    onstep(link.dataset.step);
  });
}
