/* A matrix on a board. Up to 12 columns every cell shows its digits; beyond, the whole of it in
   colour, and a lens of 12 × 12 that slides over it. */

import { painter, step, table } from "../picture/colour.js";
import { arrows, largest, make } from "../picture/elements.js";
import { copier, digits, shape } from "./writing.js";

const WIDE = 12;
const TALL = 12;

/* spec: symbol, name, label, role; values: {shape, at}; rows, columns: labels; kind: "read" from the
   model or "derived" here; layer, head; work(i, j) → {text, from: [[symbol, row, column]]}; ground:
   "share" for numbers 0…1; form: of the result; cell: how one is written; followed: the row that is looked at; bands: the
   first column of each group; positions: false where rows are none; across: what columns are; narrow: it stands beside others;
   compact: of a large one no digits. */
export function matrix(spec, board) {
  const [n, m] = spec.values.shape;
  const wide = m > WIDE || n > Math.max(TALL, 16);
  const figure = make("figure", { className: "matrix-figure", "data-symbol": spec.symbol, "data-role": spec.role, "data-name": spec.name });
  const view = new View(spec, board, wide);
  const title = make(
    "figcaption",
    {},
    make("b", { className: "matrix-name", textContent: spec.label ?? spec.symbol }),
    make("span", { className: "shape", textContent: shape(n, m) }),
    make("span", {
      className: `kind ${spec.kind}`,
      textContent: spec.kind,
      title: spec.kind === "read" ? `read from the pass: ${spec.name}` : `worked out in this page: ${spec.name}`,
    }),
    copier("copy", () => asText(spec, board.pass), `${spec.label ?? spec.symbol} with its names`),
  );
  figure.append(title, ...(wide ? [view.overview()] : []), ...(wide && spec.compact ? [] : [view.element]));
  figure.onmouseenter = () => board.light(spec.symbol);
  figure.onmouseleave = () => board.light(null);
  board.add(spec.symbol, { figure, mark: (i, j, className) => view.mark(i, j, className), unmark: () => view.unmark(), view });
  return figure;
}

/* What is copied: the numbers with what they are. */
function asText(spec, pass) {
  const [n, m] = spec.values.shape;
  const rows = [...Array(n).keys()].map((i) => [...Array(m).keys()].map((j) => finite(spec.values.at(i, j))));
  const positions = spec.positions === false ? {} : { positions: rows.map((_, i) => pass.first + i), tokens: spec.rows };
  const { name, layer, head, kind } = spec;
  return JSON.stringify({ model: pass.model, text: pass.text, name, layer, head, kind, shape: [n, m], ...positions, values: rows });
}

function finite(value) {
  return Number.isFinite(value) ? Number(value.toPrecision(9)) : null;
}

class View {
  constructor(spec, board, wide) {
    this.spec = spec;
    this.board = board;
    this.wide = wide;
    const [n, m] = spec.values.shape;
    this.size = wide ? [Math.min(n, TALL), Math.min(m, WIDE, inRoom(spec))] : [n, m];
    this.scale = spec.ground === "share" ? "sequential" : "diverging";
    this.high = spec.ground === "share" ? 1 : 2 * (largest(flat(spec.values)) || 1);
    this.corner = [clamp((spec.followed ?? 0) - TALL + 1, 0, n - this.size[0]), 0];
    this.place = [spec.followed ?? 0, 0];
    this.marks = [];
    this.element = make("div", { className: "matrix-scroll" });
    this.fill();
  }

  fill() {
    const { spec } = this;
    this.paint = painter(this.scale);
    const [[top, left], [n, m]] = [this.corner, this.size];
    const columns = [...Array(m).keys()].map((j) => left + j);
    const head = spec.columns || this.wide ? make("tr", {}, make("td"), ...columns.map((j) => this.heading(j))) : null;
    const body = [...Array(n).keys()]
      .map((i) => top + i)
      .map((i) =>
        make(
          "tr",
          { className: i === spec.followed ? "followed" : "" },
          make("th", { scope: "row", className: "token", textContent: spec.rows[i] }),
          ...columns.map((j) => this.cell(i, j)),
        ),
      );
    this.rows = body;
    const tableElement = make("table", { className: "matrix" }, head ? make("thead", {}, head) : null, make("tbody", {}, ...body));
    tableElement.onpointerover = (event) => this.over(event);
    tableElement.onclick = (event) => this.over(event, true);
    tableElement.addEventListener("focusin", (event) => this.over(event));
    arrows(
      tableElement,
      () => spec.values.shape,
      () => this.place,
      (i, j) => this.go(i, j),
    );
    this.element.replaceChildren(tableElement);
  }

  heading(j) {
    const { spec } = this;
    return make("th", { scope: "col", className: this.band(j), textContent: spec.columns ? spec.columns[j] : String(j) });
  }

  band(j) {
    return this.spec.bands?.includes(j) ? "token band" : "token";
  }

  cell(i, j) {
    const { spec } = this;
    const value = spec.values.at(i, j);
    const here = i === this.place[0] && j === this.place[1];
    const element = make("td", {
      className: `cell ${this.spec.bands?.includes(j) ? "band" : ""}`,
      tabIndex: here ? 0 : -1,
      "data-at": `${i},${j}`,
      textContent: spec.cell ? spec.cell(value) : digits(value),
    });
    if (!Number.isFinite(value) || spec.hidden?.(i, j)) element.classList.add("masked");
    else this.paint(element, step(value, this.scale, this.high));
    return element;
  }

  over(event, pressed = false) {
    const at = event.target.dataset?.at;
    if (!at) return;
    const [i, j] = at.split(",").map(Number);
    if (event.type !== "pointerover") this.here(i, j);
    if (pressed) event.target.focus({ preventScroll: true });
    this.board.point(this.spec, i, j);
  }

  here(i, j) {
    this.at(...this.place)?.setAttribute("tabindex", "-1");
    this.place = [i, j];
    this.at(i, j)?.setAttribute("tabindex", "0");
  }

  at(i, j) {
    return this.rows[i - this.corner[0]]?.children[j - this.corner[1] + 1];
  }

  go(i, j) {
    this.slide(i, j);
    this.here(i, j);
    this.at(i, j)?.focus();
  }

  /* The lens, so that it holds a cell; null: wherever it is. */
  slide(i, j) {
    if (!this.wide) return;
    const corner = [i, j].map((at, axis) => {
      const [from, n] = [this.corner[axis], this.size[axis]];
      return at === null || (at >= from && at < from + n) ? from : clamp(at - Math.floor(n / 2), 0, this.spec.values.shape[axis] - n);
    });
    if (String(corner) === String(this.corner)) return;
    this.corner = corner;
    this.fill();
    this.frame();
  }

  /* The whole of it, a dot a number, under a frame that shows where the lens is. */
  overview() {
    const { spec } = this;
    const [n, m] = spec.values.shape;
    const canvas = make("canvas", {
      width: m,
      height: n,
      className: "overview",
      tabIndex: 0,
      role: "img",
      "aria-label": `All ${n} × ${m} numbers of ${spec.label ?? spec.symbol} in colour; the arrow keys slide the lens.`,
    });
    const colours = table(this.scale);
    const image = new ImageData(m, n);
    const high = spec.ground === "share" ? 1 : this.high / 2;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < m; j++) {
        const value = spec.values.at(i, j);
        const place = 3 * step(value, this.scale, high);
        if (Number.isFinite(value)) image.data.set([colours[place], colours[place + 1], colours[place + 2], 255], 4 * (i * m + j));
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const i = clamp(Math.floor(((event.clientY - box.top) / box.height) * n), 0, n - 1);
      const j = clamp(Math.floor(((event.clientX - box.left) / box.width) * m), 0, m - 1);
      this.board.point(spec, i, j);
      if (event.type === "click" || event.buttons) this.move(i - Math.floor(this.size[0] / 2), j - Math.floor(this.size[1] / 2));
    };
    canvas.onpointermove = canvas.onclick = point;
    arrows(
      canvas,
      () => [n - this.size[0] + 1, m - this.size[1] + 1],
      () => this.corner,
      (i, j) => this.move(i, j),
    );
    this.glass = make("div", { className: "lens-frame", hidden: Boolean(spec.compact) });
    this.frame();
    return make("div", { className: "overview-plot", style: `height:${clamp(n * 14, 28, 160)}px` }, canvas, this.glass);
  }

  move(i, j) {
    const [n, m] = this.spec.values.shape;
    this.corner = [clamp(i, 0, n - this.size[0]), clamp(j, 0, m - this.size[1])];
    this.place = [...this.corner];
    this.fill();
    this.frame();
  }

  frame() {
    if (!this.glass) return;
    const [n, m] = this.spec.values.shape;
    Object.assign(this.glass.style, {
      left: `${(100 * this.corner[1]) / m}%`,
      top: `${(100 * this.corner[0]) / n}%`,
      width: `${(100 * this.size[1]) / m}%`,
      height: `${(100 * this.size[0]) / n}%`,
    });
  }

  /* row or column null: all of the other. */
  mark(row, column, className) {
    if (className === "operand") this.slide(row, column);
    for (const [r, tr] of this.rows.entries()) {
      if (row !== null && r + this.corner[0] !== row) continue;
      for (const td of [...tr.children].slice(1)) {
        if (column !== null && Number(td.dataset.at.split(",")[1]) !== column) continue;
        td.classList.add(className);
        this.marks.push([td, className]);
      }
    }
  }

  unmark() {
    for (const [td, className] of this.marks) td.classList.remove(className);
    this.marks = [];
  }
}

/* Columns of digits that there is room for beside the labels. */
function inRoom(spec) {
  const room = spec.narrow ? Math.min(innerWidth - 28, 330) : innerWidth - 28;
  return Math.max(4, Math.floor((room - 90) / 57));
}

function flat(values) {
  if (values.flat) return values.flat;
  const [n, m] = values.shape;
  return [...Array(n * m).keys()].map((i) => values.at(Math.floor(i / m), i % m));
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}
