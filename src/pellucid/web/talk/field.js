/* A field of neurons on a canvas, behind the frames: far away behind words, near, one alone, and that
   one in relation: its signal runs along the edges to the others. For those who ask for less motion
   it is one picture that stands still. */

import { drawn } from "../picture/colour.js";
import { calm } from "../walk/writing.js";

const SPACING = 135; /* of the neurons, in pixels of a 1920 × 1080 screen */
const NEAREST = 4;
const SPREAD = 3; /* edges that a signal gets along in a second */
const REACH = 7;
const STRENGTH = { far: 0.24, near: 1, alone: 0.1, related: 1 };

export class Field {
  constructor(canvas) {
    this.canvas = canvas;
    this.seen = "";
    this.began = 0;
    this.moving = 0;
    /** @type {(() => unknown)[]} */
    this.ended = [drawn(() => this.once())];
    const sized = new ResizeObserver(() => (this.plant(), this.once()));
    sized.observe(canvas);
    const less = matchMedia("(prefers-reduced-motion: reduce)");
    const changed = () => this.show(this.seen);
    less.addEventListener("change", changed);
    this.ended.push(
      () => sized.disconnect(),
      () => less.removeEventListener("change", changed),
    );
  }

  /* seen: how, a key of STRENGTH; "" for not at all. */
  show(seen) {
    if (seen !== this.seen) this.began = performance.now();
    this.seen = seen;
    this.canvas.hidden = !seen;
    cancelAnimationFrame(this.moving);
    this.moving = 0;
    this.canvas.dataset.moving = String(Boolean(seen) && !calm());
    if (!seen) return;
    if (!this.neurons) this.plant();
    if (calm()) this.once();
    else this.move();
  }

  move() {
    this.draw(performance.now() / 1000, (performance.now() - this.began) / 1000);
    this.moving = requestAnimationFrame(() => this.move());
  }

  /* As it is when all signals have arrived. */
  once() {
    if (this.seen && !this.moving) this.draw(0, REACH);
  }

  close() {
    cancelAnimationFrame(this.moving);
    for (const end of this.ended) end();
  }

  /* Neurons on a grid that was shaken, each with edges to its nearest; the same each time. */
  plant() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    const dense = Math.min(devicePixelRatio || 1, 2);
    Object.assign(this.canvas, { width: Math.round(width * dense), height: Math.round(height * dense) });
    this.dense = dense;
    this.unit = Math.max(0.5, Math.min(width / 1920, height / 1080));
    const random = chance(7);
    const gap = SPACING * this.unit;
    this.neurons = [];
    for (let y = gap / 2; y < height; y += gap)
      for (let x = gap / 2; x < width; x += gap)
        this.neurons.push({
          x: x + (random() - 0.5) * gap * 0.9,
          y: y + (random() - 0.5) * gap * 0.9,
          size: (5 + 7 * random() ** 2) * this.unit,
          turn: 6.3 * random(),
          pace: 0.25 + 0.4 * random(),
          arms: [...Array(5)].map((_, i) => [1.26 * i + random(), 1.6 + 1.6 * random()]),
        });
    this.join(random);
    this.spread(width * 0.5, height * 0.42);
  }

  join(random) {
    const { neurons } = this;
    const known = new Set();
    this.edges = [];
    for (const [i, { x, y }] of neurons.entries()) {
      const far = neurons.map((other, j) => [(other.x - x) ** 2 + (other.y - y) ** 2, j]).sort((a, b) => a[0] - b[0]);
      for (const [, j] of far.slice(1, NEAREST + 1)) {
        const key = i < j ? `${i},${j}` : `${j},${i}`;
        if (known.has(key)) continue;
        known.add(key);
        this.edges.push({ from: Math.min(i, j), to: Math.max(i, j), bend: (random() - 0.5) * 0.35, turn: random() });
      }
    }
  }

  /* The one neuron that is meant, and how many edges each of the others is away from it. */
  spread(x, y) {
    const away = ({ x: a, y: b }) => (a - x) ** 2 + (b - y) ** 2;
    this.one = this.neurons.reduce((best, neuron, i, all) => (away(neuron) < away(all[best]) ? i : best), 0);
    this.hops = Array(this.neurons.length).fill(Infinity);
    this.hops[this.one] = 0;
    for (let ring = [this.one], hop = 1; ring.length; hop++) {
      const next = this.edges.flatMap(({ from, to }) => (ring.includes(from) ? [to] : ring.includes(to) ? [from] : []));
      ring = [...new Set(next)].filter((i) => this.hops[i] === Infinity);
      for (const i of ring) this.hops[i] = hop;
    }
  }

  draw(seconds, since) {
    if (!this.neurons) return;
    const pen = this.canvas.getContext("2d");
    const { color, outlineColor } = getComputedStyle(this.canvas);
    const [strength, related, alone] = [STRENGTH[this.seen], this.seen === "related", this.seen === "alone"];
    const places = this.neurons.map(({ x, y, turn, pace }) => [
      x + 9 * this.unit * Math.sin(pace * seconds + turn),
      y + 9 * this.unit * Math.cos(0.8 * pace * seconds + 2 * turn),
    ]);
    pen.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const lit = (hop) => (related && hop <= REACH ? Math.max(0, Math.min(1, since * SPREAD - hop + 1)) / (1 + 0.22 * hop) : 0);
    for (const edge of alone ? [] : this.edges) {
      const [[x, y], [u, v]] = [places[edge.from], places[edge.to]];
      const middle = [(x + u) / 2 + (v - y) * edge.bend, (y + v) / 2 + (x - u) * edge.bend];
      const glow = lit(Math.max(this.hops[edge.from], this.hops[edge.to]));
      pen.globalAlpha = glow ? 0.25 + 0.75 * glow : 0.35 * (related ? 0.4 : strength);
      pen.strokeStyle = glow ? outlineColor : color;
      pen.lineWidth = (glow ? 1.5 + 3 * glow : 1.3) * this.unit;
      pen.beginPath();
      pen.moveTo(x, y);
      pen.quadraticCurveTo(...middle, u, v);
      pen.stroke();
      if (related && !glow) continue;
      const inward = this.hops[edge.from] > this.hops[edge.to];
      const at = (0.22 * seconds + edge.turn) % 1;
      const way = related && inward ? 1 - at : at;
      const on = (a, b, c) => (1 - way) ** 2 * a + 2 * way * (1 - way) * b + way ** 2 * c;
      pen.globalAlpha = related ? glow : 0.8 * strength;
      pen.fillStyle = outlineColor;
      disk(pen, on(x, middle[0], u), on(y, middle[1], v), 3.2 * this.unit);
    }
    this.neurons.forEach((neuron, i) => {
      const glow = alone ? Number(i === this.one) : lit(this.hops[i]);
      pen.globalAlpha = glow ? 0.3 + 0.7 * glow : related ? 0.25 : 0.75 * strength;
      pen.fillStyle = pen.strokeStyle = glow ? outlineColor : color;
      cell(pen, neuron, ...places[i], neuron.size * (i === this.one && (alone || related) ? 1.9 : 1));
    });
    pen.globalAlpha = 1;
  }
}

function disk(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
}

/* A body and its short arms. */
function cell(pen, { arms }, x, y, size) {
  disk(pen, x, y, size);
  pen.lineWidth = size * 0.28;
  pen.lineCap = "round";
  pen.beginPath();
  for (const [angle, length] of arms) {
    pen.moveTo(x, y);
    pen.lineTo(x + Math.cos(angle) * size * length, y + Math.sin(angle) * size * length);
  }
  pen.stroke();
}

/* The same numbers 0…1 each time: a picture that can be looked at twice. */
function chance(seed) {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}
