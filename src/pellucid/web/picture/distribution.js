/* Probabilities of the next token under temperature, top-k and top-p, as they are moved. */

import { bar } from "./bars.js";
import { caption, make, readout } from "./elements.js";
import { counted, visible, written } from "./notation.js";
import { numbers } from "./numbers.js";
import { likeliest, probabilities } from "./sampling.js";

const ROWS = 12;

/* spec.chosen: the settings, where they shall outlive this picture. spec.taken: the id of the token
   that was drawn, listed whatever its rank. spec.pick(id): makes each row a button. */
export function distribution(spec) {
  const logits = numbers(spec.logits).flat;
  const order = likeliest(logits);
  const model = probabilities(logits, {}, order);
  const n = logits.length;
  const first = spec.ids.slice(0, ROWS);
  const ids = first.includes(spec.taken) || !spec.ids.includes(spec.taken) ? first : [...first.slice(0, -1), spec.taken];
  const listed = new Set(ids);
  const mostK = Math.min(100, n);
  const chosen = spec.chosen ?? { temperature: 1, topK: null, topP: null };
  const line = readout();
  const list = make("ul", { className: "bars distribution" });
  const rows = ids.map((id) => {
    const text = visible(spec.texts[spec.ids.indexOf(id)]);
    const parts = {
      before: bar(model[id], 1, false, "bar before"),
      after: bar(model[id], 1, false, "bar"),
      number: make("span", { className: "number" }),
    };
    parts.element = make(
      "li",
      { "data-id": id, className: id === spec.taken ? "taken" : "" },
      label(id, text),
      make("span", { className: "track" }, parts.before, parts.after),
      parts.number,
    );
    list.append(parts.element);
    return parts;
  });

  function label(id, text) {
    const shown = { className: "label token plain", textContent: text };
    if (!spec.pick || id === spec.taken) return make("span", shown);
    const about = { type: "button", title: "Take this way instead", "aria-label": `Take this way instead: ${text}` };
    return make("button", { ...shown, ...about, className: "label token plain way", onclick: () => spec.pick(id) });
  }

  function update() {
    const now = probabilities(logits, chosen, order);
    const high = Math.max(model[order[0]], now[order[0]]);
    rows.forEach(({ element, before, after, number }, i) => {
      const id = ids[i];
      before.style.width = `${(100 * model[id]) / high}%`;
      after.style.width = `${(100 * now[id]) / high}%`;
      number.textContent = now[id] > 0 ? written(now[id], "percent") : "out";
      element.classList.toggle("out", now[id] === 0);
      element.dataset.value = now[id];
      element.dataset.model = model[id];
    });
    let left = 0;
    let entropy = 0;
    let rest = 0;
    for (let i = 0; i < n; i++) {
      if (!listed.has(i)) rest += now[i];
      if (now[i] > 0) {
        left += 1;
        entropy -= now[i] * Math.log(now[i]);
      }
    }
    line.textContent = `${counted(left)} of ${counted(n)} tokens can be drawn; entropy ${written(entropy)} nats; not listed: ${written(rest, "percent")}.`;
    line.dataset.left = left;
    line.dataset.entropy = entropy;
  }

  function slider(name, label, min, max, stepBy, value, read) {
    const shown = make("output", {});
    const box = make("input", { type: "range", min, max, step: stepBy, name, value });
    box.oninput = () => {
      shown.textContent = read(Number(box.value));
      box.setAttribute("aria-valuetext", shown.textContent);
      update();
    };
    shown.textContent = read(Number(value));
    return make("label", { className: "slider" }, make("span", { textContent: label }), box, shown);
  }
  const sliders = make(
    "div",
    { className: "sliders" },
    slider("temperature", "Temperature", 0, 2, 0.05, chosen.temperature, (value) => {
      chosen.temperature = value;
      return value === 0 ? "0, greedy" : value.toFixed(2);
    }),
    slider("top-k", "Top-k", 1, mostK + 1, 1, chosen.topK ?? mostK + 1, (value) => {
      chosen.topK = value > mostK ? null : value;
      return value > mostK ? "off" : String(value);
    }),
    slider("top-p", "Top-p", 0, 1, 0.01, chosen.topP ?? 1, (value) => {
      chosen.topP = value >= 1 ? null : value;
      return value >= 1 ? "off" : value.toFixed(2);
    }),
  );
  update();
  const read = caption("Outlined: the model's own probabilities. Filled: after temperature, top-k and top-p, in this order.");
  return [sliders, read, list, make("div", { className: "foot" }, line)];
}
