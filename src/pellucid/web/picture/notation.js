/* How numbers and tokens are written, and how heads and layers are called; draw/notation.py and
   visible.py are the same in Python, whose table of glyphs comes with the document. */

const MINUS = "−";
let glyphs = {};

/* table: character → what is shown for it in a token. */
export function useGlyphs(table) {
  glyphs = table;
}

export function visible(token) {
  if (token === "") return "∅";
  return shown(token, "");
}

export function quoted(token) {
  return `“${visible(token)}”`;
}

/* Joiners shape letters and emoji, and turn nothing: they stay in a text. */
const JOINERS = "\u200c\u200d";

function shown(text, kept) {
  return Array.from(text, (character) => (kept.includes(character) ? character : (glyphs[character] ?? character))).join("");
}

/* A text without its lines: their ends and tabs as glyphs, spaces as they are. */
export function onOneLine(text) {
  return shown(text, ` ${JOINERS}`);
}

/* A text with its lines. */
export function harmless(text) {
  return shown(text, ` \n\t${JOINERS}`);
}

/* L0H1; layers and heads count from 0. */
export function headName(layer, head) {
  return `L${layer}H${head}`;
}

export function layerName(layer) {
  return layer === "embed" ? layer : `L${layer}`;
}

/* How many: digits in groups of three. */
export function counted(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function written(value, form = "number") {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  if (form === "percent") return percent(value);
  if (form === "bytes") return bytes(value);
  const size = Math.abs(value);
  if (size === 0) return "0";
  let text;
  if (size < 1e-3 || size >= 1e6) text = size.toExponential(2);
  else text = size.toFixed(size >= 1000 ? 1 : size >= 100 ? 2 : size >= 10 ? 3 : 4);
  text = text.replace("e-", `e${MINUS}`).replace("e+", "e");
  const sign = value < 0 ? MINUS : form === "signed" && value > 0 ? "+" : "";
  return sign + text;
}

/* Near 0 and 100 as many decimals, up to four, as it takes to tell it from them. */
function percent(share) {
  const size = Math.abs(share);
  const sign = share < 0 ? MINUS : "";
  if (size === 0 || size === 1) return `${sign}${100 * size}%`;
  const left = size < 1 ? 100 * Math.min(size, 1 - size) : 100;
  if (left < 0.0001) return size < 0.5 ? "<0.0001%" : `${sign}>99.9999%`;
  const digits = 1 + [0.095, 0.0095, 0.00095].filter((bound) => left < bound).length;
  return `${sign}${(100 * size).toFixed(digits)}%`;
}

function bytes(value) {
  for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${+value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${+value.toFixed(1)} TiB`;
}
