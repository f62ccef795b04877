/* Bars with their numbers beside them; signed ones from a line in the middle. */

import { caption, largest, make } from "./elements.js";
import { visible, written } from "./notation.js";
import { numbers } from "./numbers.js";

export function bars(spec) {
  const values = numbers(spec.values).flat;
  const after = spec.after ? numbers(spec.after).flat : null;
  const high = spec.high ?? (largest(after ? [...values, ...after] : values) || 1);
  const signed = values.some((value) => value < 0);
  const noted = (spec.notes ?? []).some(Boolean);
  const rows = spec.labels.map((label, i) => {
    const shown = after ? after[i] : values[i];
    const text = after ? `${written(values[i], spec.form)} → ${written(after[i], spec.form)}` : written(values[i], spec.form);
    const track = make("span", { className: signed ? "track signed" : "track" });
    if (after) track.append(bar(values[i], high, signed, "bar before"));
    track.append(bar(shown, high, signed, "bar"));
    return make(
      "li",
      { "data-value": values[i], "data-after": after ? after[i] : null },
      make("span", { className: spec.tokens ? "label token plain" : "label", textContent: spec.tokens ? visible(label) : label }),
      track,
      make("span", { className: "number", textContent: text }),
      noted ? make("small", { textContent: spec.notes[i] }) : null,
    );
  });
  const kinds = ["bars", after && "wide", noted && "noted"].filter(Boolean).join(" ");
  const read = after ? caption(`Outlined: ${spec.names[0]}. Filled: ${spec.names[1]}.`) : null;
  const sum = typeof spec.total === "number" ? caption(`Sum: ${written(spec.total, spec.form)}`) : null;
  return [read, make("ul", { className: kinds }, ...rows), sum];
}

export function bar(value, high, signed, className) {
  const share = (100 * Math.min(Math.abs(value), high)) / high / (signed ? 2 : 1);
  const element = make("span", { className });
  if (signed && value < 0) element.classList.add("negative");
  element.style.width = `${share}%`;
  if (signed) element.style.left = value < 0 ? `${50 - share}%` : "50%";
  return element;
}
