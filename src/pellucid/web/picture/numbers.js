/* Arrays as Python packed them: base64 within a document, nested lists in JSON. */

const TYPES = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u2: Uint16Array };

export class Numbers {
  constructor(shape, flat) {
    this.shape = shape;
    this.flat = flat;
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

function unpack(packed) {
  if (!Array.isArray(packed)) {
    const bytes = Uint8Array.from(atob(packed.base64), (c) => c.charCodeAt(0));
    return new Numbers(packed.shape, new TYPES[packed.type](bytes.buffer));
  }
  const shape = [];
  for (let part = packed; Array.isArray(part); part = part[0]) shape.push(part.length);
  const flat = shape.length > 1 ? packed.flat(shape.length - 1) : packed;
  return new Numbers(
    shape,
    Float64Array.from(flat, (value) => value ?? NaN),
  );
}

/* Packed arrays anywhere in a picture become Numbers the first time they are looked at. */
const unpacked = new WeakMap();

export function numbers(packed) {
  if (packed instanceof Numbers) return packed;
  if (!unpacked.has(packed)) unpacked.set(packed, unpack(packed));
  return unpacked.get(packed);
}
