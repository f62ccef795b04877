/* A text, token by token, each on the colour of its number. */

import { drawn, paint, step } from "./colour.js";
import { arrows, largest, legend, make, readout, say, token } from "./elements.js";
import { quoted, visible, written } from "./notation.js";
import { numbers } from "./numbers.js";

export function tokens(spec) {
  const values = numbers(spec.values).flat;
  const high = spec.high ?? largest(values);
  const what = spec.what ? `${spec.what} ` : "";
  const line = readout("Point at a token, or reach it with the arrow keys.");
  const strip = make("div", { className: "strip", role: "group", "aria-label": "Tokens" });
  let here = 0;
  const pieces = spec.tokens.map((text, i) => {
    const piece = token(text, {
      tabIndex: i ? -1 : 0,
      "data-value": values[i],
      "aria-label": `${visible(text)}, ${written(values[i], spec.form)}`,
    });
    piece.onmouseenter = piece.onfocus = () => {
      here = i;
      const more = spec.notes[i] ? `, ${spec.notes[i]}` : "";
      say(line, `${quoted(text)} at ${i}: ${what}${written(values[i], spec.form)}${more}`, values[i], i);
    };
    drawn(() => paint(piece, step(values[i], spec.scale, high), spec.scale));
    return piece;
  });
  arrows(
    strip,
    () => [1, pieces.length],
    () => [0, here],
    (row, i) => {
      pieces[here].tabIndex = -1;
      pieces[i].tabIndex = 0;
      pieces[i].focus();
    },
  );
  strip.append(...pieces);
  return [strip, make("div", { className: "foot" }, legend(spec.scale, high, spec.form), line)];
}
