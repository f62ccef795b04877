/* Every primitive by its name, as draw/pictures.py describes it. */

import { bars } from "./bars.js";
import { compare } from "./compare.js";
import { distribution } from "./distribution.js";
import { caption, choice, make } from "./elements.js";
import { heads } from "./heads.js";
import { heat } from "./heat.js";
import { lens } from "./lens.js";
import { harmless } from "./notation.js";
import { formula, matrix, table } from "./slides.js";
import { tokens } from "./tokens.js";
import { values } from "./values.js";

const PICTURES = { bars, compare, distribution, formula, heads, heat, lens, lines, matrix, table, tabs, tokens, values };

export function picture(spec) {
  const host = make("div", { className: "picture", "data-type": spec.type });
  const note = spec.left_out ? make("p", { className: "note", textContent: spec.left_out }) : null;
  const own = spec.type === "tabs" ? null : caption(spec.caption);
  if (own && spec.role) own.dataset.role = spec.role;
  host.append(...[note, own, ...PICTURES[spec.type](spec)].filter(Boolean));
  return host;
}

function lines(spec) {
  const texts = spec.lines.map(harmless);
  if (!spec.listed) return texts.map((text) => make("p", { className: "sentence", textContent: text }));
  return [make("ul", { className: "lines" }, ...texts.map((text) => make("li", { textContent: text })))];
}

function tabs(spec) {
  const names = Object.keys(spec.pictures);
  const place = make("div", { className: "tab" });
  return [choice(spec.caption, names, (i) => place.replaceChildren(picture(spec.pictures[names[i]]))), place];
}
