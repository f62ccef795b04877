/* Pellucid's sampling.py, in the same order and in the same float64: logits → distribution. */

/* The model's own distribution and nothing else, whatever its card recommends; as a request names it. */
export const PLAIN = {
  temperature: 1,
  top_p: 1,
  top_k: 2 ** 31 - 1,
  min_p: 0,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
};

function softmax(x) {
  let highest = -Infinity;
  for (const value of x) if (value > highest) highest = value;
  const out = new Float64Array(x.length);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += out[i] = Math.exp(x[i] - highest);
  for (let i = 0; i < x.length; i++) out[i] /= sum;
  return out;
}

/* Ids of the tokens still possible, likeliest first; ties by id. */
export function likeliest(x) {
  const order = [];
  for (let i = 0; i < x.length; i++) if (x[i] > -Infinity) order.push(i);
  return order.sort((a, b) => x[b] - x[a] || a - b);
}

function only(x, keep) {
  const out = new Float64Array(x.length).fill(-Infinity);
  for (const i of keep) out[i] = x[i];
  return out;
}

/* topK, topP: null for none. order: of the logits, where it is known already. */
export function probabilities(logits, { temperature = 1, topK = null, topP = null }, order = null) {
  let x = Float64Array.from(logits);
  order ??= likeliest(x);
  if (temperature === 0) return softmax(only(x, order.slice(0, 1)));
  if (temperature !== 1) {
    const highest = x[order[0]];
    x = x.map((value) => (value - highest) / temperature);
  }
  if (topK !== null && topK < x.length) x = only(x, (order = order.slice(0, topK)));
  if (topP !== null && topP < 1) {
    const share = softmax(x);
    let sum = 0;
    let n = 1;
    for (const i of order) {
      sum += share[i];
      if (!(sum < topP)) break;
      n += 1;
    }
    x = only(x, order.slice(0, n));
  }
  return softmax(x);
}
