/* The loss as a curve, the embeddings as points of a plane: drawn as wide as there is room. */

import { make } from "../picture/elements.js";
import { counted, visible, written } from "../picture/notation.js";

const SPACE = "http://www.w3.org/2000/svg";

function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/* An SVG that calls draw(width, height) whenever its size changes. */
function drawing(className, label, draw) {
  const svg = shape("svg", { class: className, role: "img", "aria-label": label });
  const host = make("div", { className: `${className}-frame` }, svg);
  const observer = new ResizeObserver(() => {
    const [width, height] = [host.clientWidth, host.clientHeight];
    if (!width || !height) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    draw(width, height);
  });
  observer.observe(host);
  return { svg, host, observer };
}

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 16, 14, 26];

export class LossCurve {
  /* total: steps of the whole training. choose(step): somebody points at one. */
  constructor({ total, unit, floor, choose }) {
    this.total = total;
    this.floor = floor;
    this.choose = choose;
    this.points = [];
    this.heldOut = [];
    this.at = null;
    this.size = null;
    const { svg, host, observer } = drawing("loss-curve", `Loss over the steps, in ${unit}`, (width, height) => {
      this.size = [width, height];
      this.draw();
    });
    this.svg = svg;
    this.host = host;
    this.observer = observer;
    const point = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const share = (event.clientX - svg.getBoundingClientRect().left - LEFT) / (this.size[0] - LEFT - RIGHT);
      this.choose((1 + this.total) ** Math.max(0, Math.min(1, share)) - 1);
    };
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointermove", point);
  }

  /* points, heldOut: [step, loss] each. */
  use(points, heldOut) {
    this.points = points;
    this.heldOut = heldOut;
    this.draw();
  }

  /* loss: null where that moment's was not measured. */
  mark(step, loss) {
    this.at = { step, loss };
    this.draw();
  }

  draw() {
    if (!this.size || !this.points.length) return;
    const [width, height] = this.size;
    const all = [...this.points, ...this.heldOut].map(([, loss]) => loss);
    const low = Math.min(...all, this.floor ?? Infinity);
    const high = Math.max(...all);
    const span = high - low || 1;
    const [bottom, top] = [Math.max(0, low - 0.06 * span), high + 0.04 * span];
    const x = (step) => LEFT + (Math.log(1 + step) / Math.log(1 + this.total)) * (width - LEFT - RIGHT);
    const y = (loss) => TOP + ((top - loss) / (top - bottom)) * (height - TOP - BOTTOM);
    const parts = [];
    for (const loss of ticks(bottom, top)) {
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(loss), y2: y(loss) }));
      parts.push(text(LEFT - 6, y(loss) + 4, String(loss), "end"));
    }
    for (let step = 1; step <= this.total; step *= 10) parts.push(text(x(step), height - 8, counted(step), "middle"));
    parts.push(text(LEFT, height - 8, "0", "middle"));
    if (this.floor !== null) {
      parts.push(shape("line", { class: "floor", x1: LEFT, x2: width - RIGHT, y1: y(this.floor), y2: y(this.floor) }));
      parts.push(text(LEFT + 4, y(this.floor) - 5, `lowest possible: ${written(this.floor)}`, "start"));
    }
    const line = this.points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
    parts.push(shape("polyline", { class: "line", points: line }));
    for (const [step, loss] of this.heldOut) parts.push(shape("circle", { class: "held-out", cx: x(step), cy: y(loss), r: 3.5 }));
    if (this.at) {
      const { step, loss } = this.at;
      parts.push(shape("line", { class: "now", x1: x(step), x2: x(step), y1: TOP, y2: height - BOTTOM }));
      if (loss !== null) parts.push(shape("circle", { class: "now", cx: x(step), cy: y(loss), r: 5 }));
    }
    this.svg.replaceChildren(...parts);
  }

  close() {
    this.observer.disconnect();
  }
}

function text(x, y, content, anchor) {
  return shape("text", { x, y, "text-anchor": anchor }, content);
}

function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((n) => n * power).find((each) => each >= rough);
  const out = [];
  for (let at = Math.ceil(low / size); at * size <= high; at++) out.push(Number((at * size).toPrecision(6)));
  return out;
}

const [EDGE, LETTER, LINE] = [26, 7.4, 15];

export class Plane {
  /* words: of the points; own: those of the text, by their places. points: Numbers [moment, word, 2]. */
  constructor({ words, points }) {
    this.points = points;
    this.own = new Set();
    this.moment = 0;
    this.trails = shape("g", { class: "trails" });
    this.marks = words.map((word) => {
      const label = shape("text", { x: 7, y: 4 }, visible(word));
      const mark = shape("g", { class: "word" }, shape("title", {}, visible(word)), shape("circle", { r: 3.5 }), label);
      return { mark, label, width: 12 + LETTER * visible(word).length };
    });
    this.size = null;
    const about = `Embeddings of ${words.length} tokens in a plane`;
    const { svg, host, observer } = drawing("plane", about, (width, height) => {
      this.size = [width, height];
      this.show(this.moment);
    });
    this.host = host;
    this.observer = observer;
    const flat = points.flat;
    const along = (axis) => flat.filter((_, i) => i % 2 === axis);
    this.low = [0, 1].map((axis) => along(axis).reduce((a, b) => Math.min(a, b), Infinity));
    this.high = [0, 1].map((axis) => along(axis).reduce((a, b) => Math.max(a, b), -Infinity));
    svg.append(this.trails, ...this.marks.map(({ mark }) => mark));
  }

  /* places: of the words that are in the text. */
  use(places) {
    this.own = new Set(places);
    this.marks.forEach(({ mark }, i) => mark.classList.toggle("own", this.own.has(i)));
    this.show(this.moment);
  }

  /* Where a word is at a moment, in pixels: one unit is as long along both directions. */
  place(moment, word) {
    const [width, height] = this.size;
    const room = [width - 2 * EDGE - 40, height - 2 * EDGE];
    const unit = Math.min(...[0, 1].map((axis) => room[axis] / (this.high[axis] - this.low[axis] || 1)));
    const at = [0, 1].map((axis) => (this.points.at(moment, word, axis) - (this.low[axis] + this.high[axis]) / 2) * unit);
    return [width / 2 - 20 + at[0], height / 2 - at[1]];
  }

  show(moment) {
    this.moment = moment;
    if (!this.size) return;
    const taken = [];
    const order = [...this.marks.keys()].sort((a, b) => Number(this.own.has(b)) - Number(this.own.has(a)) || a - b);
    for (const i of order) {
      const { mark, label, width } = this.marks[i];
      const [x, y] = this.place(moment, i);
      mark.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
      const box = [x, y - LINE / 2, x + width, y + LINE / 2];
      const free = taken.every((other) => box[0] > other[2] || box[2] < other[0] || box[1] > other[3] || box[3] < other[1]);
      label.classList.toggle("crowded", !free);
      if (free) taken.push(box);
    }
    this.trails.replaceChildren(
      ...[...this.own].map((i) => {
        const way = [...Array(moment + 1).keys()].map((at) => this.place(at, i).map((n) => n.toFixed(1)));
        return shape("polyline", { points: way.join(" ") });
      }),
    );
  }

  close() {
    this.observer.disconnect();
  }
}
