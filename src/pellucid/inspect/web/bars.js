/* Bars with their numbers beside them; signed ones from a line in the middle. */

import { largest, make } from "./elements.js";
import { numbers, visible, written } from "./numbers.js";

export function bars(spec) {
  const values = numbers(spec.values).flat;
  const after = spec.after ? numbers(spec.after).flat : null;
  const high = largest(after ? [...values, ...after] : values) || 1;
  const rows = spec.labels.map((label, i) => {
    const shown = after ? after[i] : values[i];
    const text = after ? `${written(values[i], spec.form)} → ${written(after[i], spec.form)}` : written(values[i], spec.form);
    const track = make("span", { className: spec.signed ? "track signed" : "track" });
    if (after) track.append(bar(values[i], high, spec.signed, "bar before"));
    track.append(bar(shown, high, spec.signed, "bar"));
    return make(
      "li",
      { "data-value": values[i], "data-after": after ? after[i] : null, title: spec.texts ? spec.texts[i] : "" },
      make("span", { className: spec.tokens ? "label token plain" : "label", textContent: spec.tokens ? visible(label) : label }),
      track,
      make("span", { className: "number", textContent: text }),
    );
  });
  return [make("ul", { className: after ? "bars wide" : "bars" }, ...rows)];
}

export function bar(value, high, signed, className) {
  const share = (100 * Math.min(Math.abs(value), high)) / high / (signed ? 2 : 1);
  const element = make("span", { className });
  if (signed && value < 0) element.classList.add("negative");
  element.style.width = `${share}%`;
  if (signed) element.style.left = value < 0 ? `${50 - share}%` : "50%";
  return element;
}
