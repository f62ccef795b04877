/* All heads as small maps, one of them enlarged: its matrix, and the text seen from one query. */

import { drawn, paint, rootStep, table } from "./colour.js";
import { arrows, legend, make, readout, say, select, token, whenSeen } from "./elements.js";
import { bar } from "./bars.js";
import { headName, layerName, quoted, visible, written } from "./notation.js";
import { numbers } from "./numbers.js";

/* Weights of attention, whole (the lower triangle) or each query's largest only. */
class Pattern {
  constructor(spec) {
    this.n = spec.tokens.length;
    this.whole = spec.pattern ? numbers(spec.pattern) : null;
    this.keys = spec.keys ? numbers(spec.keys) : null;
    this.weights = spec.weights ? numbers(spec.weights) : null;
  }

  /* [weight of each key], zero where it was left out. */
  row(layer, head, query) {
    const row = new Float64Array(this.n);
    this.each(layer, head, query, (key, weight) => (row[key] = weight));
    return row;
  }

  each(layer, head, query, visit) {
    if (this.whole) {
      const start = this.whole.index(layer, head, (query * (query + 1)) / 2);
      for (let key = 0; key <= query; key++) visit(key, this.whole.flat[start + key]);
      return;
    }
    const keys = this.keys.below(layer, head, query);
    const weights = this.weights.below(layer, head, query);
    for (let i = 0; i < keys.length; i++) if (weights[i] > 0) visit(keys[i], weights[i]);
  }

  /* The largest weight in each of m × m cells, -1 where no key can be seen. */
  picture(layer, head, m) {
    const cells = new Float32Array(m * m).fill(-1);
    const scale = m / this.n;
    for (let query = 0; query < this.n; query++) {
      const row = Math.floor(query * scale) * m;
      const last = Math.floor(query * scale);
      for (let column = 0; column <= last; column++) if (cells[row + column] < 0) cells[row + column] = 0;
      this.each(layer, head, query, (key, weight) => {
        const cell = row + Math.floor(key * scale);
        if (weight > cells[cell]) cells[cell] = weight;
      });
    }
    return cells;
  }
}

function fill(canvas, pattern, layer, head, m) {
  canvas.width = canvas.height = m;
  const cells = pattern.picture(layer, head, m);
  const colours = table("sequential");
  const image = new ImageData(m, m);
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] < 0) continue;
    const place = 3 * rootStep(cells[i]);
    image.data.set([colours[place], colours[place + 1], colours[place + 2], 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const letter = (label) => label[0].toUpperCase();

export function heads(spec) {
  const pattern = new Pattern(spec);
  const n = pattern.n;
  const [nLayer, nHead] = [spec.layers.length, spec.heads.length];
  const entropy = numbers(spec.entropy);
  const distance = numbers(spec.distance);
  const labels = (layer, head) => spec.labels[`${spec.layers[layer]},${spec.heads[head]}`] ?? [];
  const named = (layer, head) => headName(spec.layers[layer], spec.heads[head]);

  const single = oneHead(spec, pattern, (layer, head) => {
    const what = labels(layer, head).map((label) => `${label} head`);
    const numbersOf = `entropy ${written(entropy.at(layer, head))} nats, looks back ${written(distance.at(layer, head))} tokens on average`;
    return [...what, numbersOf].join(" · ");
  });
  const thumbs = [];
  let [row, column] = [0, 0];
  function choose(layer, head) {
    const before = thumbs[row * nHead + column];
    before.setAttribute("aria-pressed", "false");
    before.tabIndex = -1;
    [row, column] = [layer, head];
    const now = thumbs[row * nHead + column];
    now.setAttribute("aria-pressed", "true");
    now.tabIndex = 0;
    single.show(layer, head);
  }
  const grid = make("div", { className: "headgrid", role: "group", "aria-label": "All heads" });
  grid.style.setProperty("--heads", nHead);
  grid.append(make("span"), ...spec.heads.map((head) => make("span", { className: "axis", textContent: `H${head}` })));
  for (let layer = 0; layer < nLayer; layer++) {
    const side = make("span", { className: "axis", textContent: layerName(spec.layers[layer]) });
    grid.append(side);
    const canvases = spec.heads.map((_, head) => {
      const canvas = make("canvas", { "aria-hidden": "true", width: 1, height: 1 });
      const what = labels(layer, head);
      const thumb = make(
        "button",
        {
          type: "button",
          className: "thumb",
          tabIndex: layer || head ? -1 : 0,
          title: [named(layer, head), ...what].join(", "),
          "aria-label": [named(layer, head), ...what].join(", "),
          "aria-pressed": "false",
          onclick: () => {
            choose(layer, head);
            if (single.element.getBoundingClientRect().top > innerHeight - 80) single.element.scrollIntoView({ block: "nearest" });
          },
        },
        canvas,
        what.length ? make("span", { className: "badge", textContent: what.map(letter).join("") }) : null,
      );
      thumbs.push(thumb);
      grid.append(thumb);
      return canvas;
    });
    whenSeen(side, () => drawn(() => canvases.forEach((canvas, head) => fill(canvas, pattern, layer, head, Math.min(n, 64)))));
  }
  arrows(
    grid,
    () => [nLayer, nHead],
    () => [row, column],
    (layer, head) => {
      choose(layer, head);
      thumbs[layer * nHead + head].focus();
    },
  );
  single.onchange = choose;
  choose(0, 0);
  const kinds = [...new Set(Object.values(spec.labels).flat())];
  const key = kinds.length
    ? make("p", { className: "caption", textContent: `Letters: ${kinds.map((kind) => `${letter(kind)} ${kind}`).join(", ")} head.` })
    : null;
  const hint = make("p", { className: "caption", textContent: "Choose a head to enlarge it." });
  const wide = make("div", { className: "scroll" }, grid);
  return [nLayer * nHead > 1 ? make("div", {}, hint, wide, key) : null, single.element];
}

function oneHead(spec, pattern, about) {
  const n = pattern.n;
  let [layer, head, query, key] = [0, 0, spec.position, spec.position];
  let row = null;
  const self = { onchange: (_layer, _head) => {} };
  const title = make("h4");
  const note = make("p", { className: "caption" });
  const [layerField, layerBox] = select("Layer", spec.layers.map(String), (i) => self.onchange(i, head));
  const [headField, headBox] = select("Head", spec.heads.map(String), (i) => self.onchange(layer, i));
  const canvas = make("canvas", {
    className: "heat",
    tabIndex: 0,
    role: "img",
    "aria-label": "Attention of one head: rows are queries, columns keys. Arrow keys move.",
  });
  const mark = make("div", { className: "mark rowmark" });
  const spot = make("div", { className: "mark" });
  const line = readout();
  const strip = make("div", { className: "strip", role: "group", "aria-label": "The text: choose the token that looks" });
  const pieces = spec.tokens.map((text, i) => {
    const piece = token(text, { tabIndex: -1 });
    piece.onmouseenter = piece.onclick = piece.onfocus = () => look(i, i);
    return piece;
  });
  strip.append(...pieces);
  const list = make("ul", { className: "bars" });
  const heading = make("p", { className: "caption strong" });

  function look(q, k) {
    [query, key] = [q, Math.min(k, q)];
    row = pattern.row(layer, head, query);
    pieces.forEach((piece, i) => {
      piece.classList.toggle("query", i === query);
      piece.classList.toggle("later", i > query);
      piece.tabIndex = i === query ? 0 : -1;
      if (i <= query) paint(piece, rootStep(row[i]), "sequential");
      else piece.style.background = piece.style.color = "";
    });
    Object.assign(mark.style, { left: 0, width: `${(100 * (query + 1)) / n}%`, top: `${(100 * query) / n}%`, height: `${100 / n}%` });
    Object.assign(spot.style, { left: `${(100 * key) / n}%`, width: `${100 / n}%`, top: `${(100 * query) / n}%`, height: `${100 / n}%` });
    const weight = row[key];
    const known = pattern.whole || weight > 0 ? written(weight, "percent") : "not among the largest";
    say(line, `${quoted(spec.tokens[query])} at ${query} looks at ${quoted(spec.tokens[key])} at ${key}: ${known}`, weight, query, key);
    heading.textContent = `${quoted(spec.tokens[query])} at ${query} looks most at`;
    const top = [...row.keys()]
      .filter((i) => i <= query && row[i] > 0)
      .sort((a, b) => row[b] - row[a])
      .slice(0, 8);
    list.replaceChildren(
      ...top.map((i) =>
        make(
          "li",
          { "data-key": i, "data-value": row[i] },
          make(
            "span",
            { className: "label" },
            make("span", { className: "token plain", textContent: visible(spec.tokens[i]) }),
            make("small", { textContent: ` ${i}` }),
          ),
          make("span", { className: "track" }, bar(row[i], 1, false, "bar")),
          make("span", { className: "number", textContent: written(row[i], "percent") }),
        ),
      ),
    );
  }
  canvas.onpointermove = canvas.onclick = (event) => {
    const box = canvas.getBoundingClientRect();
    const place = (at, from, size) => Math.max(0, Math.min(n - 1, Math.floor(((at - from) / size) * n)));
    look(place(event.clientY, box.top, box.height), place(event.clientX, box.left, box.width));
  };
  arrows(
    canvas,
    () => [n, n],
    () => [query, key],
    (q, k) => look(q, k),
  );
  arrows(
    strip,
    () => [1, n],
    () => [0, query],
    (_, i) => pieces[i].focus(),
  );
  let seen = false;
  const draw = () => seen && fill(canvas, pattern, layer, head, Math.min(n, 512));
  self.show = (l, h) => {
    [layer, head] = [l, h];
    layerBox.selectedIndex = l;
    headBox.selectedIndex = h;
    title.textContent = `Head ${spec.heads[h]} of layer ${spec.layers[l]} (${headName(spec.layers[l], spec.heads[h])})`;
    note.textContent = about(l, h);
    draw();
    look(query, key);
  };
  const plot = make("div", { className: "plot square" }, canvas, mark, spot);
  self.element = make(
    "div",
    { className: "single" },
    make("div", { className: "singlehead" }, title, layerField, headField),
    note,
    make(
      "div",
      { className: "beside" },
      make("div", {}, plot, make("div", { className: "foot" }, legend("sequential", 1, "percent", true), line)),
      make("div", {}, strip, heading, list),
    ),
  );
  whenSeen(self.element, () => {
    seen = true;
    drawn(() => {
      draw();
      look(query, key);
    });
  });
  return self;
}
