/* A heat map: one canvas, read with the pointer or the arrow keys. */

import { drawn, step, table } from "./colour.js";
import { arrows, largest, legend, make, readout, say } from "./elements.js";
import { quoted, visible, written } from "./notation.js";
import { numbers } from "./numbers.js";

export function heat(spec) {
  const values = numbers(spec.values);
  const [rows, columns] = values.shape;
  const high = spec.high ?? (largest(values.flat) || 1);
  const what = spec.what ? `${spec.what} ` : "";
  const name = (text) => (spec.tokens ? visible(text) : text);
  function place(r, c) {
    if (spec.tokens) return `${spec.rows[r]}, ${quoted(spec.columns[c])} at ${c}`;
    const joint = /^L\d+$/.test(spec.rows[r]) ? (/^H\d+$/.test(spec.columns[c]) ? "" : " ") : ", ";
    return spec.rows[r] + joint + spec.columns[c];
  }
  const line = readout("Point at a cell, or move with the arrow keys.");
  const canvas = make("canvas", {
    className: "heat",
    width: columns,
    height: rows,
    tabIndex: 0,
    role: "img",
    "aria-label": `Heat map of ${rows} rows and ${columns} columns. Arrow keys read its cells.`,
  });
  const mark = make("div", { className: "mark", hidden: true });
  let [row, column] = [rows - 1, columns - 1];

  function point(r, c) {
    [row, column] = [r, c];
    const value = values.at(r, c);
    const more = [spec.cells, spec.notes].map((texts) => texts?.[r * columns + c]).filter(Boolean);
    say(line, [`${place(r, c)}: ${what}${written(value, spec.form)}`, ...more].join(", "), value, r, c);
    mark.hidden = false;
    Object.assign(mark.style, {
      left: `${(100 * c) / columns}%`,
      top: `${(100 * r) / rows}%`,
      width: `${100 / columns}%`,
      height: `${100 / rows}%`,
    });
  }
  canvas.onpointermove = canvas.onclick = (event) => {
    const box = canvas.getBoundingClientRect();
    const r = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const c = Math.floor(((event.clientX - box.left) / box.width) * columns);
    if (r >= 0 && r < rows && c >= 0 && c < columns) point(r, c);
  };
  canvas.onfocus = () => point(row, column);
  arrows(
    canvas,
    () => [rows, columns],
    () => [row, column],
    point,
  );
  drawn(() => {
    const colours = table(spec.scale);
    const image = new ImageData(columns, rows);
    for (let i = 0; i < values.flat.length; i++) {
      if (Number.isNaN(values.flat[i])) continue;
      const place = 3 * step(values.flat[i], spec.scale, high);
      image.data.set([colours[place], colours[place + 1], colours[place + 2], 255], 4 * i);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  });

  /* Labels as far as they have room: the rest is read by pointing. */
  const cell = Math.max(columns > 200 ? 3 : 7, Math.min(columns > 40 ? 18 : 44, Math.floor(900 / columns)));
  const tall = Math.max(rows > 100 ? 3 : 14, Math.min(24, Math.floor(640 / rows)));
  const side = make("div", { className: "rows", "aria-hidden": "true" });
  if (tall >= 13) side.append(...spec.rows.map((text) => make("span", { textContent: text })));
  const slanted = spec.tokens || cell < 40;
  const below = make("div", { className: slanted ? "columns slanted" : "columns", "aria-hidden": "true" });
  const every = cell >= 14 ? 1 : Math.ceil(14 / cell);
  below.append(
    ...spec.columns.map((text, i) => {
      const short = spec.tokens || cell >= 40 ? name(text) : text.replace(/^\D+/, "");
      return make("span", { textContent: i % every ? "" : short });
    }),
  );
  const plot = make("div", { className: "plot", style: `width:${cell * columns}px;height:${tall * rows}px` }, canvas, mark);
  const frame = make("div", { className: "scroll" }, make("div", { className: "framed" }, side, plot, make("div"), below));
  return [frame, make("div", { className: "foot" }, legend(spec.scale, high, spec.form), line)];
}
