/* The steps before there are numbers: input and tokenization. */

import { make } from "../picture/elements.js";
import { player } from "./step.js";

export function input({ pass, content }) {
  const sizes = make(
    "table",
    { className: "table" },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ...["", "", "GPT-2 (2019)", "this model"].map((text) =>
          text ? make("th", { scope: "col", className: "number", textContent: text }) : make("td"),
        ),
      ),
    ),
    make(
      "tbody",
      {},
      ...content.sizes.map((cells) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, make("code", { textContent: cells[0] })),
          ...cells.slice(1).map((text, i) => make("td", { className: i ? "number" : "", textContent: text })),
        ),
      ),
    ),
  );
  return {
    stage: [
      make("p", { className: "typed", textContent: pass.text || "∅" }),
      pass.note ? make("p", { className: "note", textContent: pass.note }) : null,
      make("div", { className: "scroll" }, sizes),
    ],
  };
}

export function tokenization({ pass, place, choose }) {
  const stage = [];
  if (pass.words?.every((word) => word.merges)) stage.push(merging(pass.words));
  else if (pass.words)
    stage.push(
      make("p", {
        className: "note",
        textContent: "Merges are shown for words of up to 1000 bytes; the ids below are the model's all the same.",
      }),
    );
  const cells = (text, i) => make("td", { className: i ? "number" : "token", textContent: text });
  const body = pass.pieces.map(({ id, shown }, i) => {
    const line = make(
      "tr",
      { className: i === place.position ? "followed" : "" },
      make("td", { className: "number", textContent: String(pass.first + i) }),
      ...[shown, String(id)].map(cells),
    );
    line.onclick = () => choose({ position: i });
    return line;
  });
  body.push(
    ...pass.left.map(({ id, shown }) =>
      make("tr", { className: "out" }, make("td", { className: "number", textContent: "–" }), ...[shown, String(id)].map(cells)),
    ),
  );
  stage.push(
    make(
      "div",
      { className: "scroll" },
      make(
        "table",
        { className: "table" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            ...["position", "token", "id"].map((text, i) =>
              make("th", { scope: "col", className: i === 1 ? "" : "number", textContent: text }),
            ),
          ),
        ),
        make("tbody", {}, ...body),
      ),
    ),
  );
  return { stage };
}

/* Each word begins as bytes; a merge at a time joins two neighbours. */
function merging(words) {
  const merges = words.flatMap((word, i) => word.merges.map((merge) => ({ ...merge, word: i })));
  const places = words.map(() => make("span", { className: "word" }));
  const line = make("p", { className: "merge-line", "aria-live": "polite" });
  const show = (at, moved) => {
    const parts = words.map((word) => word.start);
    for (const merge of merges.slice(0, at)) parts[merge.word] = merge.parts;
    const last = merges[at - 1];
    places.forEach((element, i) => {
      let joined = false;
      const chips = parts[i].map((text) => {
        const fresh = moved && !joined && last?.word === i && text === last.pair.join("");
        joined ||= fresh;
        return make("span", { className: fresh ? "chip joined" : "chip", textContent: text });
      });
      element.replaceChildren(...chips);
    });
    line.textContent = last ? `merge ${last.rank}: ${last.pair.join(" + ")} → ${last.pair.join("")}` : "bytes, before any merge";
  };
  const controls = player("merges", merges.length, merges.length, show);
  return make("div", { className: "merging" }, controls.element, make("div", { className: "merge-words" }, ...places), line);
}
