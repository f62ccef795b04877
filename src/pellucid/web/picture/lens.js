/* The logit lens: a table whose columns are drawn as they come into view. */

import { drawn, paint, step } from "./colour.js";
import { arrows, choice, legend, make, whenSeen } from "./elements.js";
import { bar } from "./bars.js";
import { layerName, quoted, visible, written } from "./notation.js";
import { numbers } from "./numbers.js";

const BLOCK = 24;

export function lens(spec) {
  const top = numbers(spec.top);
  const logprobs = numbers(spec.logprobs);
  const own = { target: numbers(spec.target_logprobs), ranks: numbers(spec.target_ranks) };
  const entropy = numbers(spec.entropy);
  const divergence = numbers(spec.divergence);
  const [nLayer, n, k] = top.shape;
  const order = [...Array(nLayer).keys()];
  let measure = 0;
  let here = [nLayer - 1, n - 1];
  const cells = new Map();
  const redraw = new Set();
  const probability = (l, p) => Math.exp(measure ? own.target.at(l, p) : logprobs.at(l, p, 0));

  const detail = make("div", { className: "detail", "aria-live": "polite" });
  function show(l, p) {
    cells.get(`${here}`)?.classList.remove("here");
    cells.get(`${here}`)?.setAttribute("tabindex", "-1");
    here = [l, p];
    const cell = cells.get(`${here}`);
    cell?.classList.add("here");
    cell?.setAttribute("tabindex", "0");
    const rank = own.ranks.at(l, p);
    const rows = [...Array(k).keys()].map((i) => {
      const value = Math.exp(logprobs.at(l, p, i));
      return make(
        "li",
        { "data-value": value, "data-id": top.at(l, p, i) },
        make("span", { className: "label token plain", textContent: visible(spec.texts[top.at(l, p, i)]) }),
        make("span", { className: "track" }, bar(value, 1, false, "bar")),
        make("span", { className: "number", textContent: written(value, "percent") }),
      );
    });
    const where = spec.layers[l] === "embed" ? "the embeddings" : layerName(spec.layers[l]);
    const facts =
      `${spec.watched ? "Watched" : "What follows"}, ${quoted(spec.targets[p])}: ${written(Math.exp(own.target.at(l, p)), "percent")}, ` +
      `rank ${rank + 1}. Entropy ${written(entropy.at(l, p))} nats, KL from the output ${written(divergence.at(l, p))} nats.`;
    detail.dataset.at = `${l},${p}`;
    detail.replaceChildren(
      make("p", { className: "caption strong", textContent: `After ${where}, ${quoted(spec.tokens[p])} at ${spec.positions[p]}` }),
      make("ul", { className: "bars" }, ...rows),
      make("p", { className: "caption", textContent: facts }),
    );
  }

  const side = make("div", { className: "lenscolumn side" }, make("span", { className: "lenshead" }));
  side.append(...order.map((l) => make("span", { className: "axis", textContent: layerName(spec.layers[l]) })));
  const table = make("div", { className: "lens", role: "group", "aria-label": "Likeliest token after each layer at each position" }, side);
  function block(start) {
    const end = Math.min(n, start + BLOCK);
    const place = make("div", { className: "lensblock" });
    place.style.setProperty("--columns", end - start);
    const build = () => {
      for (let p = start; p < end; p++) {
        const column = make(
          "div",
          { className: "lenscolumn" },
          make("span", { className: "lenshead", textContent: visible(spec.tokens[p]), title: visible(spec.tokens[p]) }),
        );
        for (const l of order) {
          const text = visible(spec.texts[top.at(l, p, 0)]);
          const cell = make("button", { type: "button", className: "lenscell", tabIndex: -1, textContent: text, title: text });
          cell.onmouseenter = cell.onfocus = cell.onclick = () => show(l, p);
          cells.set(`${[l, p]}`, cell);
          column.append(cell);
        }
        place.append(column);
      }
      const colour = () => {
        for (let p = start; p < end; p++) {
          for (const l of order) {
            const cell = cells.get(`${[l, p]}`);
            cell.dataset.value = probability(l, p);
            const ownText = measure ? spec.targets[p] : spec.texts[top.at(l, p, 0)];
            cell.textContent = cell.title = visible(ownText);
            paint(cell, step(probability(l, p), "sequential", 1), "sequential");
          }
        }
      };
      redraw.add(colour);
      drawn(colour);
      if (here[1] >= start && here[1] < end) show(...here);
    };
    whenSeen(place, build);
    return place;
  }
  for (let start = 0; start < n; start += BLOCK) table.append(block(start));
  arrows(
    table,
    () => [nLayer, n],
    () => here,
    (l, p) => {
      show(l, p);
      cells.get(`${here}`)?.focus();
    },
  );
  show(...here);
  const measures = choice("Show", ["likeliest token", spec.watched ? "the token watched" : "the token that follows"], (i) => {
    measure = i;
    for (const colour of redraw) colour();
  });
  return [
    measures,
    make("div", { className: "scroll lensscroll" }, table),
    make("div", { className: "foot" }, legend("sequential", 1, "percent")),
    detail,
  ];
}
