/* Two replies to one message, one above the other, token by token; and the heads that decided where
   they part. */

import { bars } from "../../picture/bars.js";
import { aligned } from "../../picture/compare.js";
import { make } from "../../picture/elements.js";
import { headName, quoted, visible, written } from "../../picture/notation.js";
import { placeOf } from "./sources.js";
import { decoded } from "./thread.js";

const HEADS = 8;

/* first, second: replies with their tokens. → { element, done: a promise } */
export function compare({ api, first, second, names, signal, close }) {
  const [above, below] = [first, second].map(({ tokens }) => tokens);
  const ids = (tokens) => tokens.map(({ id }) => id);
  const rows = aligned(ids(above), ids(below));
  const cell = (token) => {
    if (!token)
      return make("span", { className: "stacked" }, make("span", { className: "tok none" }), make("small", { textContent: "\u00a0" }));
    const share = token.logprob === null ? null : Math.exp(token.logprob);
    const text = token.text || decoded(token);
    const span = make("span", {
      className: "tok",
      textContent: token.text === "" ? "▪" : token.text.trim() ? token.text : visible(token.text),
      title: share === null ? quoted(text) : `${quoted(text)}, ${written(share, "percent")}`,
    });
    if (share !== null) span.style.setProperty("--surprise", (1 - share).toFixed(3));
    return make("span", { className: "stacked" }, span, make("small", { textContent: share === null ? "" : written(share, "percent") }));
  };
  const columns = rows.map(([i, j]) =>
    make(
      "span",
      { className: i !== null && j !== null && above[i].id === below[j].id ? "pair" : "pair differs", role: "listitem" },
      cell(above[i]),
      cell(below[j]),
    ),
  );
  const same = rows.filter(([i, j]) => i !== null && j !== null && above[i].id === below[j].id).length;
  const heads = make("div", { className: "compare-heads" });
  const element = make(
    "div",
    { className: "compare" },
    make(
      "div",
      { className: "compare-head" },
      make("h2", { textContent: "Side by side" }),
      make("button", { type: "button", className: "plain", textContent: "Back to the conversation", onclick: close }),
    ),
    make("p", {
      className: "quiet",
      textContent: `Above: ${names[0]}. Below: ${names[1]}. ${same} of ${rows.length} places have the same token.`,
    }),
    make("div", { className: "pairs-flow shaded-tokens", role: "list", "aria-label": "Both, token by token" }, ...columns),
    heads,
  );
  const done = deciding({ api, first, above, below, heads, signal });
  return { element, done };
}

/* Where they part both had read the same: the heads whose writing tells the two tokens apart. */
async function deciding({ api, first, above, below, heads, signal }) {
  const at = above.findIndex(({ id }, i) => below[i] && below[i].id !== id);
  if (at < 0) return;
  const [one, other] = [above[at], below[at]];
  const title = make(
    "h3",
    {},
    "Where they part: ",
    make("b", { textContent: quoted(one.text || decoded(one)) }),
    " or ",
    make("b", { textContent: quoted(other.text || decoded(other)) }),
  );
  const note = make("p", { className: "quiet", role: "status" });
  const tell = (text) => (note.textContent = text || "Computing what each head wrote…");
  tell("");
  heads.replaceChildren(title, note);
  try {
    const found = await api.ask("attribute", { ...placeOf(first, above, at), target: one.id, versus: other.id }, { signal, tell });
    const each = found.heads.flatMap((row, layer) => row.map((value, head) => [headName(layer, head), value]));
    each.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const shown = each.slice(0, HEADS);
    note.textContent = `The heads that differ most, in logits: blue wrote for ${quoted(one.text)}, orange for ${quoted(other.text)}. All together: ${written(found.logit, "signed")}.`;
    heads.append(...bars({ labels: shown.map(([name]) => name), values: shown.map(([, value]) => value), form: "signed" }).filter(Boolean));
  } catch (error) {
    if (error.name !== "AbortError") note.textContent = error.message;
  }
}
