/* Why this one: how much each earlier token gave, drawn on the sentence; the heads in order of what
   they wrote, each with where it looked; and on request the same in words, with parts switched off. */

import { bars } from "../../picture/bars.js";
import { largest, make } from "../../picture/elements.js";
import { headName, quoted, written } from "../../picture/notation.js";
import { waiting } from "./waiting.js";

const HEADS = 12;
const GIVERS = 6;

/* source: { attribute(signal, tell), pattern(layer, signal, tell), explain(signal, tell, onprogress),
   mark(gave), look(weights), token }; attribute is null where nothing can be asked. */
export function why(host, { attribute, pattern, explain, mark, look, token, signal }) {
  if (!attribute) {
    host.replaceChildren(
      make("p", {
        textContent:
          "This sentence is alive in the page alone: walk this step to see every head of it. Of a reply in a conversation, the server says why.",
      }),
    );
    return;
  }
  waiting(host, "Computing what each part wrote…", async (tell) => {
    const found = await attribute(signal, tell);
    const n = found.position + 1;
    const gave = new Float64Array(n);
    for (const layer of found.sources) for (const head of layer) for (let i = 0; i < n; i++) gave[i] += head[i];
    const most = largest(gave) || 1;
    mark(Object.fromEntries([...gave].map((value, i) => [i, value / most])));
    const order = [...gave.keys()].sort((a, b) => Math.abs(gave[b]) - Math.abs(gave[a])).slice(0, GIVERS);
    const over = found.versus === null ? "" : ` over ${quoted(found.versus)}`;
    return [
      make("p", {
        textContent: `The logit of ${quoted(found.target)}${over}: ${written(found.logit, "signed")}. Below the sentence: what all heads together read from each token, blue for it, orange against it.`,
      }),
      ...bars({
        labels: order.map((i) => found.tokens[i]),
        values: order.map((i) => gave[i]),
        notes: order.map((i) => `at ${i}`),
        form: "signed",
        tokens: true,
      }).filter(Boolean),
      make("h3", { textContent: "Heads" }),
      chips(found, { pattern, look, signal }),
      words({ explain, token, signal }),
    ];
  });
}

function chips(found, { pattern, look, signal }) {
  const each = found.heads.flatMap((row, layer) => row.map((value, head) => ({ layer, head, value })));
  each.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const line = make("p", {
    className: "quiet chip-line",
    role: "status",
    textContent: "Point at a head: the sentence shows where it looked.",
  });
  let here = 0;
  const show = async ({ layer, head, value }) => {
    const turn = ++here;
    try {
      const weights = (await pattern(layer, signal, (text) => turn === here && (line.textContent = text)))[head];
      if (turn !== here) return;
      look(weights);
      const at = weights.indexOf(Math.max(...weights));
      line.textContent = `${headName(layer, head)} wrote ${written(value, "signed")} and looked most at ${quoted(found.tokens[at])} (${written(weights[at], "percent")}).`;
    } catch (error) {
      if (error.name !== "AbortError") line.textContent = error.message;
    }
  };
  const hide = () => {
    here += 1;
    look(null);
  };
  const buttons = each.slice(0, HEADS).map((one) => {
    const button = make("button", {
      type: "button",
      className: `head-chip ${one.value < 0 ? "against" : "for"}`,
      "data-layer": one.layer,
      "data-head": one.head,
      textContent: `${headName(one.layer, one.head)} ${written(one.value, "signed")}`,
    });
    button.onpointerenter = button.onfocus = button.onclick = () => show(one);
    button.onpointerleave = button.onblur = hide;
    return button;
  });
  return make(
    "div",
    {},
    make("div", { className: "head-chips", role: "group", "aria-label": "Heads, by what they wrote" }, ...buttons),
    line,
  );
}

function words({ explain, token, signal }) {
  const host = make("div", { className: "in-words" });
  const button = make("button", { type: "button", className: "option", textContent: "Say it in words: switch each part off and look" });
  button.onclick = () =>
    waiting(host, "Switching parts off…", async (tell) => {
      const found = await explain(signal, tell, (done, total) => tell(`Switching parts off: ${done} of ${total}…`));
      return found.sentences.map((text) => make("p", { textContent: text }));
    });
  button.title = `Why ${quoted(token.shown ?? token.text)}`;
  host.append(button);
  return host;
}
