/* When it knew: the word that it would have said after each layer. */

import { make } from "../../picture/elements.js";
import { visible, written } from "../../picture/notation.js";
import { waiting } from "./waiting.js";

/* source: { lens(signal, tell): a promise of [{ layer, top: [{ text, share }], own: share or null }] }
   from the embeddings up, token } */
export function knew(host, { lens, token, signal }) {
  waiting(host, "Reading it out after each layer…", async (tell) => {
    const rungs = await lens(signal, tell);
    const said = token.shown ?? token.text;
    let first = rungs.length;
    while (first > 0 && rungs[first - 1].top[0].text === said) first -= 1;
    const since = rungs[first]?.layer;
    const words =
      first === rungs.length
        ? `The likeliest in the end is another: ${visible(rungs.at(-1).top[0].text)}.`
        : since === "embed"
          ? "It leads from the embeddings on."
          : `It leads from layer ${since} on.`;
    const rows = rungs.map(({ layer, top, own }, i) =>
      make(
        "li",
        { className: i >= first ? "knew" : "" },
        make("span", { className: "rung", textContent: layer === "embed" ? "embed" : `layer ${layer}` }),
        make("span", {
          className: "said token plain",
          textContent: visible(top[0].text),
          title: top.map(({ text, share }) => `${visible(text)} ${written(share, "percent")}`).join(", "),
        }),
        make("span", { className: "number", textContent: written(top[0].share, "percent") }),
        make("span", { className: "number own", textContent: own === null ? "" : written(own, "percent") }),
      ),
    );
    return [
      make("p", { textContent: words }),
      make(
        "div",
        { className: "rungs-head quiet" },
        make("span", { textContent: "would have said" }),
        make("span", { textContent: `${visible(said)} itself` }),
      ),
      make("ol", { className: "rungs" }, ...rows.reverse()),
    ];
  });
}
