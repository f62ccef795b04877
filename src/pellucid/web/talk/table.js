/* The table biological ↔ artificial: first down the one side, row by row, then down the other. */

import { make } from "../picture/elements.js";

export function networks(_frame, { content }) {
  const rows = content.networks.map(([what, biological, artificial]) => ({
    cells: [make("th", { scope: "row", textContent: `${what}:` }), make("td", { textContent: biological })],
    last: make("td", { textContent: artificial }),
  }));
  const last = make("th", { scope: "col", textContent: "artificial" });
  const table = make(
    "table",
    { className: "networks" },
    make("thead", {}, make("tr", {}, make("td"), make("th", { scope: "col", textContent: "biological" }), last)),
    make("tbody", {}, ...rows.map(({ cells, last }) => make("tr", {}, ...cells, last))),
  );
  const n = rows.length;
  return {
    body: [table],
    beats: 2 * n + 1,
    show(beat) {
      rows.forEach(({ cells, last }, i) => {
        for (const cell of cells) waits(cell, beat <= i);
        waits(last, beat <= n + i);
      });
      waits(last, beat <= n);
    },
  };
}

/* What comes later keeps its place: nothing moves when it does. */
export function waits(element, yes) {
  element.classList.toggle("waits", yes);
}
