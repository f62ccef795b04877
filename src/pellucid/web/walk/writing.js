/* Numbers and sentences of the walk, as Python writes them (draw/notation.py, inspect/words.py). */

import { make } from "../picture/elements.js";
import { counted } from "../picture/notation.js";

const MINUS = "−";

/* With three decimals; what rounds to 0 has no sign. */
export function digits(value, decimals = 3) {
  if (Number.isNaN(value)) return "·";
  if (!Number.isFinite(value)) return value < 0 ? `${MINUS}∞` : "∞";
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
}

/* All of a number's digits: float32 has nine that tell it from its neighbours. */
export function exact(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(9))).replace("-", MINUS) : digits(value);
}

export function shape(...sizes) {
  return `[${sizes.map(counted).join(" × ")}]`;
}

/* A sentence with what it names filled in; null where something of it is not known. */
export function filled(sentence, known) {
  let whole = true;
  const text = sentence.replace(/\{(\w+)\}/g, (_, name) => {
    whole &&= known[name] !== undefined;
    return known[name];
  });
  return whole ? text : null;
}

const MOST_TERMS = 12;
const FEW_TERMS = 4;

/* Σ left · right, written out: all of it where it is short, else its largest products. */
export function products(left, right) {
  const terms = Array.from(left, (value, i) => [value, right[i]]);
  const written = (pair) => `${digits(pair[0])} × ${digits(pair[1])}`;
  if (terms.length <= MOST_TERMS) return terms.map(written).join(" + ");
  const largest = [...terms].sort((a, b) => Math.abs(b[0] * b[1]) - Math.abs(a[0] * a[1])).slice(0, FEW_TERMS);
  return `${largest.map(written).join(" + ")} + … (${counted(terms.length - FEW_TERMS)} smaller products)`;
}

/* What is added to a product where the place has a bias; unknown where it is not at hand. */
export function plusBias(bias, shifted) {
  if (!shifted) return "";
  return bias == null ? " + bias" : ` + bias ${digits(bias)}`;
}

export function dot(left, right) {
  let sum = 0;
  for (let i = 0; i < left.length; i++) sum += left[i] * right[i];
  return sum;
}

/* A button that copies; what stands on it says that it did. */
export function copier(label, text, what) {
  const button = make("button", { type: "button", className: "copy", textContent: label, "aria-label": `Copy ${what}` });
  button.onclick = async () => {
    const done = await copied(text());
    button.textContent = done ? "copied" : "not allowed";
    setTimeout(() => (button.textContent = label), 1200);
  };
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
