/* Arrays as Python packed them, and how numbers and tokens are written. */

const TYPES = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u2: Uint16Array };

export class Numbers {
  constructor({ shape, type, base64 }) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    this.shape = shape;
    this.flat = new TYPES[type](bytes.buffer);
  }

  index(...at) {
    let index = 0;
    for (let i = 0; i < at.length; i++) index = index * this.shape[i] + at[i];
    return index;
  }

  at(...at) {
    return this.flat[this.index(...at)];
  }

  /* The numbers below leading indices, without a copy. */
  below(...at) {
    let size = 1;
    for (const n of this.shape.slice(at.length)) size *= n;
    const start = this.index(...at) * size;
    return this.flat.subarray(start, start + size);
  }
}

/* Packed arrays anywhere in a picture become Numbers the first time they are looked at. */
const unpacked = new WeakMap();

export function numbers(packed) {
  if (packed instanceof Numbers) return packed;
  if (!unpacked.has(packed)) unpacked.set(packed, new Numbers(packed));
  return unpacked.get(packed);
}

const MINUS = "−";

export function written(value, form = "number") {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  if (form === "percent") {
    const percent = value * 100;
    if (percent > 99.995 && percent < 100) return "> 99.99 %";
    if (value > 0 && percent < 0.01) return `${percent.toExponential(1).replace("-", MINUS)} %`;
    return `${percent.toFixed(percent >= 99.95 || percent < 10 ? 2 : 1)} %`;
  }
  if (form === "bytes") {
    for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
      if (value < 1024 || unit === "GiB") return `${+value.toFixed(1)} ${unit}`;
      value /= 1024;
    }
  }
  const size = Math.abs(value);
  let text;
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) text = size.toExponential(2);
  else text = size.toFixed(size >= 1000 ? 1 : size >= 100 ? 2 : size >= 10 ? 3 : 4);
  text = text.replace("e-", `e${MINUS}`).replace("e+", "e");
  const sign = value < 0 ? MINUS : form === "signed" && value > 0 ? "+" : "";
  return sign + text;
}

/* White space made visible, and what has no shape of its own written as a code. */
export function visible(token) {
  if (token === "") return "∅";
  return token
    .replaceAll(" ", "·")
    .replaceAll("\n", "↵")
    .replaceAll("\r", "␍")
    .replaceAll("\t", "⇥")
    .replace(/[\p{C}\p{Z}]/gu, (c) => `⟨${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

export function quoted(token) {
  return `“${visible(token)}”`;
}
