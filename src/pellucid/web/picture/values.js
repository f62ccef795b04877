/* A trace: every value with its shape and statistics; opened, one two-dimensional slice of it. */

import { make, select, whenSeen } from "./elements.js";
import { heat } from "./heat.js";
import { visible, written } from "./notation.js";
import { Numbers, numbers } from "./numbers.js";

export function values(spec) {
  const filter = make("input", { type: "search", placeholder: "Filter by name, such as attn.q", "aria-label": "Filter by name" });
  const list = make("div", { className: "values" });
  const rows = spec.rows.map((row) => {
    const [low, mean, high, deviation] = row.statistics;
    const facts = `${written(low)} … ${written(high)}, mean ${written(mean)} ± ${written(deviation)}`;
    const entry = make(
      "details",
      { "data-name": row.name },
      make(
        "summary",
        {},
        make("code", { textContent: row.name }),
        make("span", {
          className: "shape",
          textContent: row.axes.map((axis, i) => (axis === String(row.shape[i]) ? axis : `${axis} ${row.shape[i]}`)).join(" × "),
        }),
        histogram(row.histogram),
        make("span", { className: "facts", textContent: facts, "data-statistics": row.statistics.join(",") }),
      ),
    );
    entry.addEventListener("toggle", () => entry.children.length < 2 && entry.append(slice(spec, row)), { once: true });
    return entry;
  });
  filter.oninput = () => rows.forEach((entry) => (entry.hidden = !entry.dataset.name.includes(filter.value)));
  list.append(...rows);
  if (rows.length === 1) rows[0].open = true;
  return [filter, list];
}

function histogram(counts) {
  const highest = Math.max(...counts, 1);
  const canvas = make("canvas", { className: "histogram", width: counts.length * 3, height: 18, "aria-hidden": "true" });
  whenSeen(canvas, () => {
    const context = canvas.getContext("2d");
    context.fillStyle = "#7a8794";
    counts.forEach((count, i) => {
      const tall = count ? Math.max(1, Math.round((18 * count) / highest)) : 0;
      context.fillRect(3 * i, 18 - tall, 2, tall);
    });
  });
  return canvas;
}

function slice(spec, row) {
  const inside = make("div", { className: "inside" });
  if (row.formula) inside.append(make("p", { className: "caption", textContent: row.formula }));
  if (!row.values) {
    inside.append(make("p", { className: "note", textContent: "Its numbers are not on this page." }));
    return inside;
  }
  const all = numbers(row.values);
  const swapped = row.axes.indexOf("head") === 1 && row.axes.length === 3;
  const leading = row.shape.slice(0, -2).map(() => 0);
  if (swapped) leading[0] = row.shape[0] - 1;
  const place = make("div");
  const names = (axis, n) => {
    if (axis === "position" || axis === "query") return spec.tokens.slice(-n).map(visible);
    if (axis === "key") return spec.keys;
    if (axis === "head") return spec.heads.map((head) => `H${head}`);
    return [...Array(n).keys()].map(String);
  };
  function draw() {
    const shape = row.shape.length > 1 ? row.shape.slice(-2) : [1, row.shape[0] ?? 1];
    const axes = row.axes.length > 1 ? row.axes.slice(-2) : ["", row.axes[0] ?? ""];
    const part = new Numbers(shape, all.below(...leading));
    place.replaceChildren(
      ...heat({
        values: part,
        rows: axes[0] ? names(axes[0], shape[0]) : ["value"],
        columns: names(axes[1], shape[1]),
        tokens: axes[1] === "key",
        scale: part.flat.some((value) => value < 0) ? "diverging" : "sequential",
        form: "number",
      }),
    );
  }
  leading.forEach((first, i) => {
    const [field, box] = select(
      row.axes[i],
      names(row.axes[i], row.shape[i]).map((text, j) => `${j} ${text}`),
      (chosen) => {
        leading[i] = chosen;
        draw();
      },
    );
    box.selectedIndex = first;
    inside.append(field);
  });
  inside.append(place);
  draw();
  return inside;
}
