/* GPT-2's forward pass, line by line as model/gpt2.py and model/attend.py have it, in float64 on
   float32 weights. Every value goes by its tap's name, without the batch axis (taps.py). */

import { Numbers, numbers } from "../picture/numbers.js";

const EPSILON = 1e-5;

function zeros(...shape) {
  return new Numbers(shape, new Float64Array(shape.reduce((n, size) => n * size, 1)));
}

function sum(a, b) {
  return new Numbers(
    a.shape,
    a.flat.map((value, i) => value + b.flat[i]),
  );
}

/* x [row, in] · weight [in, out] + bias [out] */
function linear(x, weight, bias) {
  const [n, from] = x.shape;
  const to = weight.shape[1];
  const out = zeros(n, to);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < from; k++) {
      const factor = x.flat[i * from + k];
      for (let j = 0; j < to; j++) out.flat[i * to + j] += factor * weight.flat[k * to + j];
    }
    for (let j = 0; j < to; j++) out.flat[i * to + j] += bias.flat[j];
  }
  return out;
}

function rows(table, ids) {
  const out = zeros(ids.length, table.shape[1]);
  ids.forEach((id, i) => out.flat.set(table.below(id), i * table.shape[1]));
  return out;
}

function gelu(x) {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

export class Model {
  /* weights: by their names in weights.py, as Python packs them. */
  constructor({ hparams, weights }) {
    this.hparams = hparams;
    this.weights = Object.fromEntries(Object.entries(weights).map(([name, packed]) => [name, numbers(packed)]));
  }

  get d_k() {
    return this.hparams.n_embd / this.hparams.n_head;
  }

  /* ids → every value of the pass, name → Numbers. */
  forward(ids) {
    const values = new Map();
    const keep = (name, value) => {
      values.set(name, value);
      return value;
    };
    const w = this.weights;
    const token = keep("embed", rows(w["wte.weight"], ids));
    const position = keep(
      "pos_embed",
      rows(
        w["wpe.weight"],
        ids.map((_, i) => i),
      ),
    );
    let x = sum(token, position);
    for (let layer = 0; layer < this.hparams.n_layer; layer++) x = this.block(x, layer, keep);
    keep("logits", this.unembed(this.norm(x, "ln_f", "ln_final", keep)));
    return values;
  }

  block(x, layer, keep) {
    const [at, of] = [`blocks.${layer}`, `h.${layer}`];
    const w = (name) => [this.weights[`${of}.${name}.weight`], this.weights[`${of}.${name}.bias`]];
    keep(`${at}.resid_pre`, x);
    const z = this.heads(this.norm(x, `${of}.ln_1`, `${at}.ln1`, keep), layer, keep);
    const concat = new Numbers([z.shape[0], this.hparams.n_embd], z.flat);
    x = keep(`${at}.resid_mid`, sum(x, keep(`${at}.attn_out`, linear(concat, ...w("attn.c_proj")))));
    const pre = keep(`${at}.mlp.pre`, linear(this.norm(x, `${of}.ln_2`, `${at}.ln2`, keep), ...w("mlp.c_fc")));
    const post = keep(`${at}.mlp.post`, new Numbers(pre.shape, pre.flat.map(gelu)));
    return keep(`${at}.resid_post`, sum(x, keep(`${at}.mlp_out`, linear(post, ...w("mlp.c_proj")))));
  }

  /* (x - mean) / deviation · gain + bias */
  norm(x, name, at, keep = (_, value) => value) {
    const [gain, bias] = [this.weights[`${name}.weight`].flat, this.weights[`${name}.bias`].flat];
    const [n, m] = x.shape;
    const [scale, normalized, out] = [zeros(n, 1), zeros(n, m), zeros(n, m)];
    for (let i = 0; i < n; i++) {
      const row = x.below(i);
      const mean = row.reduce((total, value) => total + value, 0) / m;
      const variance = row.reduce((total, value) => total + (value - mean) ** 2, 0) / m;
      scale.flat[i] = Math.sqrt(variance + EPSILON);
      for (let j = 0; j < m; j++) {
        normalized.flat[i * m + j] = (row[j] - mean) / scale.flat[i];
        out.flat[i * m + j] = normalized.flat[i * m + j] * gain[j] + bias[j];
      }
    }
    keep(`${at}.scale`, scale);
    keep(`${at}.normalized`, normalized);
    return keep(`${at}.out`, out);
  }

  /* norm(x) → z [position, head, d_k], the heads in parallel */
  heads(x, layer, keep) {
    const { n_embd, n_head } = this.hparams;
    const [n, d_k, at, of] = [x.shape[0], this.d_k, `blocks.${layer}.attn`, `h.${layer}.attn.c_attn`];
    const qkv = linear(x, this.weights[`${of}.weight`], this.weights[`${of}.bias`]);
    const [q, k, v] = ["q", "k", "v"].map((name, part) => {
      const out = zeros(n, n_head, d_k);
      for (let i = 0; i < n; i++) out.flat.set(qkv.below(i).subarray(part * n_embd, (part + 1) * n_embd), i * n_embd);
      return keep(`${at}.${name}`, out);
    });
    const [qk, scores, pattern] = ["qk", "scores", "pattern"].map((name) => keep(`${at}.${name}`, zeros(n_head, n, n)));
    const z = zeros(n, n_head, d_k);
    /* GPT-3's banded layers */
    const reach = layer % 2 ? (this.hparams.band ?? Infinity) : Infinity;
    for (let head = 0; head < n_head; head++) {
      for (let i = 0; i < n; i++) {
        const query = q.below(i, head);
        for (let j = 0; j < n; j++) {
          const key = k.below(j, head);
          let product = 0;
          for (let c = 0; c < d_k; c++) product += query[c] * key[c];
          qk.flat[qk.index(head, i, j)] = product / Math.sqrt(d_k);
        }
        const shown = scores.below(head, i);
        qk.below(head, i).forEach((value, j) => (shown[j] = j > i || j + reach <= i ? -Infinity : value));
        const highest = Math.max(...shown);
        const raised = shown.map((value) => Math.exp(value - highest));
        const total = raised.reduce((all, value) => all + value, 0);
        const shares = pattern.below(head, i);
        raised.forEach((value, j) => (shares[j] = value / total));
        const mixed = z.below(i, head);
        for (let j = 0; j <= i; j++) v.below(j, head).forEach((value, c) => (mixed[c] += shares[j] * value));
      }
    }
    return keep(`${at}.z`, z);
  }

  /* x [row, n_embd] → logits [row, n_vocab], with the dictionary of the input */
  unembed(x) {
    const table = this.weights["wte.weight"];
    const [[n, m], n_vocab] = [x.shape, table.shape[0]];
    const out = zeros(n, n_vocab);
    for (let i = 0; i < n; i++) {
      for (let id = 0; id < n_vocab; id++) {
        let product = 0;
        for (let j = 0; j < m; j++) product += x.flat[i * m + j] * table.flat[id * m + j];
        out.flat[i * n_vocab + id] = product;
      }
    }
    return out;
  }

  /* x [row, n_embd], the residual stream anywhere → the logits if the model ended there */
  readout(x) {
    return this.unembed(this.norm(x, "ln_f", "ln_final"));
  }
}
