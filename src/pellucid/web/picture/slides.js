/* A lecture's formulas, numbers in rows and tables. */

import { drawn, paint, step } from "./colour.js";
import { make } from "./elements.js";
import { onOneLine } from "./notation.js";
import { numbers } from "./numbers.js";

export function formula(spec) {
  return [make("p", { className: "formula", textContent: spec.text })];
}

export function table(spec) {
  const kind = (j) => (spec.numbers[j] ? "number" : "");
  const rows = spec.rows.map((row) => row.map((text, j) => make("td", { className: kind(j), textContent: onOneLine(text) })));
  return [scrolled("table", spec.columns, rows, -1, kind)];
}

const NUMBERS = 24; /* of an array that are written */

/* Pairs that may not meet are null in JSON and -∞ in a document. */
export function matrix(spec) {
  const values = numbers(spec.values);
  const [n, m] = values.shape;
  const shown = spec.columns.length ? m : Math.min(m, NUMBERS);
  const rows = spec.rows.map((label, i) => {
    const cells = Array.from({ length: shown }, (_, j) => cell(values.at(i, j), spec.ground && j <= i));
    const name = make("th", { scope: "row", className: "token", textContent: onOneLine(label) });
    if (shown < m) cells.push(make("td", { className: "later", textContent: `… ${m}` }));
    return [name, ...cells];
  });
  const head = spec.columns.length ? [spec.corner, ...spec.columns] : [];
  return [scrolled("table matrix", head, rows, n > 1 ? spec.followed : -1)];
}

function cell(value, ground) {
  const text = Number.isFinite(value)
    ? value
        .toFixed(3)
        .replace(/^-(0\.0+)$/, "$1")
        .replace("-", "−")
    : "−∞";
  const element = make("td", { className: Number.isFinite(value) ? "" : "later", "data-value": value, textContent: text });
  if (ground) drawn(() => paint(element, step(value, "sequential", 1), "sequential"));
  return element;
}

function scrolled(className, head, rows, followed = -1, kind = (_column) => "") {
  const table = make("table", { className });
  if (head.length)
    table.append(
      make(
        "thead",
        {},
        make("tr", {}, ...head.map((text, j) => make("th", { scope: "col", className: kind(j), textContent: onOneLine(text) }))),
      ),
    );
  const body = rows.map((cells, i) => make("tr", { className: i === followed ? "followed" : "" }, ...cells));
  table.append(make("tbody", {}, ...body));
  return make("div", { className: "scroll shaded" }, table);
}
