/* Parts of values: one head of them, a row, a column. */

/* [position, head, d_k] → one head's [position, d_k]; [head, query, key] → [query, key] */
export function ofHead(values, head, axis) {
  if (!values) return null;
  if (axis === 1) return { shape: [values.shape[0], values.shape[2]], at: (i, j) => values.at(i, head, j) };
  return { shape: values.shape.slice(1), at: (i, j) => values.at(head, i, j) };
}

export function rowOf(values, i) {
  return Array.from({ length: values.shape[1] }, (_, j) => values.at(i, j));
}

export function columnOf(values, j) {
  return Array.from({ length: values.shape[0] }, (_, i) => values.at(i, j));
}

export function numbered(n) {
  return [...Array(n).keys()].map(String);
}
