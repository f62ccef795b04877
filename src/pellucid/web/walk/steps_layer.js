/* The steps within a layer: norm, self-attention of one head, all heads, concat, W_Output. */

import { drawn, table } from "../picture/colour.js";
import { make } from "../picture/elements.js";
import { written } from "../picture/notation.js";
import { Board } from "./board.js";
import { matrix } from "./matrix.js";
import { missing, row, shapes } from "./step.js";
import { digits, dot, products, shape } from "./writing.js";

/* [position, head, d_k] → one head's [position, d_k]; [head, query, key] → [query, key] */
function ofHead(values, head, axis) {
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

function numbered(n) {
  return [...Array(n).keys()].map(String);
}

export function norm(context) {
  const { pass, place } = context;
  const { layer } = place;
  const board = new Board(pass);
  const at = `blocks.${layer}`;
  const [x, scale, normalized, out] = ["resid_pre", "ln1.scale", "ln1.normalized", "ln1.out"].map((name) => pass.get(`${at}.${name}`));
  if (!x || !out || !scale || !normalized) return { stage: [missing(context, `Layer ${layer}`)] };
  const rows = pass.pieces.map(({ shown }) => shown);
  const common = { rows, followed: place.position, layer, kind: "read" };
  const mean = (i) => rowOf(x, i).reduce((sum, value) => sum + value, 0) / x.shape[1];
  const [gain, bias] = ["weight", "bias"].map((kind) => pass.get(`h.${layer}.ln_1.${kind}`));
  const affine = (i, j) => (gain && bias ? `${digits(normalized.at(i, j))} × ${digits(gain.at(j))} + ${digits(bias.at(j))}` : `${digits(normalized.at(i, j))} · gain + bias`);
  return {
    board,
    formula: [{ symbol: "norm", text: "norm(x)", role: "residual" }, " = ", { symbol: "normalized", text: "(x − mean) / deviation", role: "residual" }, " · gain + bias"],
    own: [`Before a layer's heads look at ${rows.length === 1 ? "the array" : "the arrays"}, each is brought to mean 0 and deviation 1, then stretched and shifted by numbers that were learned, the same for every token.`],
    stage: [
      row(matrix({ ...common, symbol: "x", name: `${at}.resid_pre`, role: "residual", values: x }, board)),
      row(
        "→",
        matrix(
          {
            ...common, symbol: "normalized", label: "(x − mean) / deviation", name: `${at}.ln1.normalized`, role: "residual", values: normalized,
            work: (i, j) => ({ text: `(${digits(x.at(i, j))} − ${digits(mean(i))}) / ${digits(scale.at(i, 0))}`, from: [["x", i, null]] }),
          },
          board,
        ),
      ),
      row("→", matrix({ ...common, symbol: "norm", label: "norm(x)", name: `${at}.ln1.out`, role: "residual", values: out, work: (i, j) => ({ text: affine(i, j), from: [["normalized", i, j]] }) }, board)),
    ],
  };
}

const PARTS = [
  ["q", "query", "W_Query"],
  ["k", "key", "W_Key"],
  ["v", "value", "W_Value"],
];

export function attention(context) {
  const { pass, place } = context;
  const { layer, head, position } = place;
  const board = new Board(pass);
  const at = `blocks.${layer}`;
  const x = pass.get(`${at}.ln1.out`);
  const [q, k, v, z] = ["q", "k", "v", "z"].map((name) => ofHead(pass.get(`${at}.attn.${name}`), head, 1));
  const [qk, scores, pattern] = ["qk", "scores", "pattern"].map((name) => ofHead(pass.get(`${at}.attn.${name}`), head, 0));
  if (![x, q, k, v, z, qk, scores, pattern].every(Boolean)) return { stage: [missing(context, `Layer ${layer}`)] };
  const rows = pass.pieces.map(({ shown }) => shown);
  const [n, d_k] = q.shape;
  const m = x.shape[1];
  const root = Math.sqrt(d_k);
  const of = { layer, head, followed: position, rows, kind: "read" };
  const weights = pass.projections(layer, head);
  const values = { q, k, v };
  const projected = PARTS.map(([symbol, role, name]) => {
    const part = weights?.[role];
    const work = (i, j) =>
      part
        ? { text: `${products(rowOf(x, i), columnOf(part.weight, j))} + bias ${digits(part.bias[j])}`, from: [["norm", i, null], [name, null, j]] }
        : { text: `norm(x)[${i}] · ${name}[:, ${j}] + bias`, from: [["norm", i, null]] };
    return make(
      "div",
      { className: "projection" },
      part ? matrix({ symbol: name, name: `h.${layer}.attn.c_attn.weight, ${name}`, role, values: part.weight, narrow: true, rows: numbered(m), layer, head, kind: "read", positions: false }, board) : missing(context, `${name} of this head`),
      shapes(`${shape(n, m)} · ${shape(m, d_k)} → ${shape(n, d_k)}`),
      matrix({ ...of, symbol, label: `${role} ${symbol}`, name: `${at}.attn.${symbol}`, role, values: values[symbol], narrow: true, work }, board),
    );
  });
  const pairs = { ...of, columns: rows, across: "key" };
  const product = { shape: qk.shape, at: (i, j) => qk.at(i, j) * root };
  const sees = (i) => [...Array(n).keys()].filter((j) => pattern.at(i, j) > 0);
  const most = rowOf(pattern, position).reduce((best, share, j, all) => (share > all[best] ? j : best), 0);
  const exps = (i) => {
    const high = Math.max(...rowOf(scores, i));
    return { high, sum: sees(i).reduce((sum, j) => sum + Math.exp(scores.at(i, j) - high), 0) };
  };
  const earlier = (i, j) => z.at(i, j) - dot(rowOf(pattern, i), columnOf(v, j));
  const rest = (i, j) => (pass.first > 0 ? ` + ${digits(earlier(i, j))} from earlier tokens` : "");
  return {
    board,
    known: { layer: String(layer), head: String(head), d_k: String(d_k), name: rows[position], other: rows[most], share: written(pattern.at(position, most), "percent") },
    formula: [
      { symbol: "z", role: "residual" }, " = ", { symbol: "pattern", text: "softmax", role: "attention" }, "(", { symbol: "q", role: "query" }, " · ", { symbol: "k", text: "kᵀ", role: "key" }, " / ", { symbol: "qk", text: "√d_k", role: "attention" }, ") · ", { symbol: "v", role: "value" },
    ],
    stage: [
      row(matrix({ ...of, head: undefined, symbol: "norm", label: "norm(x)", name: `${at}.ln1.out`, role: "residual", values: x }, board)),
      make("div", { className: "projections" }, ...projected),
      shapes(`q · kᵀ: ${shape(n, d_k)} · ${shape(d_k, n)} → ${shape(n, n)}`),
      make(
        "div",
        { className: "chain" },
        matrix({ ...pairs, symbol: "qkT", label: "q · kᵀ", name: `${at}.attn.qk · √d_k`, kind: "derived", role: "attention", values: product, work: (i, j) => ({ text: products(rowOf(q, i), rowOf(k, j)), from: [["q", i, null], ["k", j, null]] }) }, board),
        matrix({ ...pairs, symbol: "qk", label: `÷ √d_k = ${digits(root)}`, name: `${at}.attn.qk`, role: "attention", values: qk, work: (i, j) => ({ text: `${digits(product.at(i, j))} / √${d_k}`, from: [["qkT", i, j]] }) }, board),
        matrix({ ...pairs, symbol: "scores", label: "mask: no token sees a later one", name: `${at}.attn.scores`, role: "attention", values: scores, work: (i, j) => ({ text: j > i ? `hidden: “${rows[j]}” comes after “${rows[i]}”` : "kept", from: [["qk", i, j]] }) }, board),
        matrix(
          {
            ...pairs, symbol: "pattern", label: "softmax: shares, each row sums to 1", name: `${at}.attn.pattern`, role: "attention", values: pattern, ground: "share", hidden: (i, j) => j > i,
            work: (i, j) => (j > i ? { text: "e^−∞", from: [["scores", i, j]] } : { text: `e^(${digits(scores.at(i, j))} − ${digits(exps(i).high)}) / ${digits(exps(i).sum)}`, from: [["scores", i, null]] }),
          },
          board,
        ),
      ),
      shapes(`shares · v: ${shape(n, n)} · ${shape(n, d_k)} → ${shape(n, d_k)}`),
      row(
        matrix({ ...of, symbol: "z", label: "z, what the head found", name: `${at}.attn.z`, role: "residual", values: z, work: (i, j) => ({ text: products(sees(i).map((key) => pattern.at(i, key)), sees(i).map((key) => v.at(key, j))) + rest(i, j), from: [["pattern", i, null], ["v", null, j]] }) }, board),
      ),
    ],
  };
}

export function heads(context) {
  const { pass, place, choose } = context;
  const { layer } = place;
  const pattern = pass.get(`blocks.${layer}.attn.pattern`);
  if (!pattern) return { stage: [missing(context, `Layer ${layer}`)] };
  const [n_head, n] = pattern.shape;
  const thumbs = [...Array(n_head).keys()].map((head) => {
    const shares = pattern.below(head, place.position);
    const most = shares.reduce((best, share, j) => (share > shares[best] ? j : best), 0);
    const canvas = make("canvas", { width: n, height: n, "aria-hidden": "true" });
    drawn(() => {
      const colours = table("sequential");
      const image = new ImageData(n, n);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j <= i; j++) {
          const place = 3 * Math.round(255 * pattern.at(head, i, j));
          image.data.set([colours[place], colours[place + 1], colours[place + 2], 255], 4 * (i * n + j));
        }
      }
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
    const says = `“${pass.pieces[place.position].shown}” → “${pass.pieces[most].shown}” ${written(shares[most], "percent")}`;
    return make(
      "button",
      { type: "button", className: "head-thumb", "aria-pressed": String(head === place.head), "data-key": `head ${head}`, onclick: () => choose({ head }) },
      make("b", { textContent: `head ${head}` }), canvas, make("span", { textContent: says }),
    );
  });
  return {
    known: { layer: String(layer), n_head: String(n_head), n_layer: String(pass.hparams.n_layer) },
    stage: [shapes(`${n_head} × softmax ${shape(n, n)}: rows ask, columns are looked at; brighter is more`), make("div", { className: "head-grid" }, ...thumbs)],
  };
}

/* z [position, head, d_k] → the heads side by side [position, n_embd] */
function sideBySide(z) {
  const [n, n_head, d_k] = z.shape;
  return { shape: [n, n_head * d_k], flat: z.flat, at: (i, j) => z.flat[i * n_head * d_k + j] };
}

function concatSpec({ pass, place }, z) {
  const d_k = z.shape[2];
  return {
    symbol: "concat", label: "concat(z_1 … z_h)", name: `blocks.${place.layer}.attn.z`, role: "residual", values: sideBySide(z), kind: "read", layer: place.layer,
    rows: pass.pieces.map(({ shown }) => shown), followed: place.position, columns: [...Array(z.shape[1] * d_k).keys()].map((j) => `${Math.floor(j / d_k)}·${j % d_k}`), across: "head · number",
    bands: [...Array(z.shape[1]).keys()].map((head) => head * d_k),
  };
}

export function concat(context) {
  const { pass, place } = context;
  const board = new Board(pass);
  const z = pass.get(`blocks.${place.layer}.attn.z`);
  if (!z) return { stage: [missing(context, `Layer ${place.layer}`)] };
  const [n, n_head, d_k] = z.shape;
  const rows = pass.pieces.map(({ shown }) => shown);
  const own = [...Array(n_head).keys()].map((head) =>
    matrix({ symbol: `z${head}`, label: `z of head ${head}`, name: `blocks.${place.layer}.attn.z`, role: "residual", values: ofHead(z, head, 1), compact: true, rows, kind: "read", layer: place.layer, head, followed: place.position }, board),
  );
  const work = (i, j) => ({ text: `number ${j % d_k} of head ${Math.floor(j / d_k)}`, from: [[`z${Math.floor(j / d_k)}`, i, j % d_k]] });
  return {
    board,
    known: { n_head: String(n_head), d_k: String(d_k), n_embd: String(n_head * d_k) },
    formula: [{ symbol: "concat", text: "concat", role: "residual" }, "(", ...(n_head <= 4 ? own.flatMap((_, head) => [...(head ? [", "] : []), { symbol: `z${head}`, text: `z_${head + 1}`, role: "residual" }]) : [{ symbol: "z0", text: "z_1", role: "residual" }, `, …, `, { symbol: `z${n_head - 1}`, text: `z_${n_head}`, role: "residual" }]), ")"],
    stage: [
      make("div", { className: "equation" }, ...own),
      shapes(`${n_head} × ${shape(n, d_k)} → ${shape(n, n_head * d_k)}`),
      row("→", matrix({ ...concatSpec(context, z), work }, board)),
    ],
  };
}

export function output(context) {
  const { pass, place } = context;
  const { layer } = place;
  const board = new Board(pass);
  const at = `blocks.${layer}`;
  const z = pass.get(`${at}.attn.z`);
  const [added, before, after] = ["attn_out", "resid_pre", "resid_mid"].map((name) => pass.get(`${at}.${name}`));
  if (!z || !added || !before || !after) return { stage: [missing(context, `Layer ${layer}`)] };
  const spec = concatSpec(context, z);
  const side = spec.values;
  const [weight, bias] = ["weight", "bias"].map((kind) => pass.get(`h.${layer}.attn.c_proj.${kind}`));
  const common = { rows: spec.rows, followed: place.position, layer, kind: "read" };
  const [n, m] = side.shape;
  const work = (i, j) =>
    weight && bias
      ? { text: `${products(rowOf(side, i), columnOf(weight, j))} + bias ${digits(bias.at(j))}`, from: [["concat", i, null], ["W_Output", null, j]] }
      : { text: `concat[${i}] · W_Output[:, ${j}] + bias`, from: [["concat", i, null]] };
  return {
    board,
    known: { n_head: String(z.shape[1]), d_k: String(z.shape[2]), n_embd: String(m) },
    formula: [{ symbol: "attn_out", role: "residual" }, " = ", { symbol: "concat", text: "concat(z_1 … z_h)", role: "residual" }, " · ", { symbol: "W_Output", role: "residual" }, " + bias;  ", { symbol: "mid", text: "x", role: "residual" }, " = ", { symbol: "pre", text: "x", role: "residual" }, " + ", { symbol: "attn_out", role: "residual" }],
    stage: [
      row(matrix(spec, board)),
      row(...(weight ? ["·"] : []), weight ? matrix({ symbol: "W_Output", name: `h.${layer}.attn.c_proj.weight`, role: "residual", values: weight, rows: numbered(weight.shape[0]), layer, kind: "read", positions: false }, board) : missing(context, "W_Output of this layer")),
      shapes(`${shape(n, m)} · ${shape(m, m)} → ${shape(n, m)}`),
      row("→", matrix({ ...common, symbol: "attn_out", name: `${at}.attn_out`, role: "residual", values: added, work }, board)),
      row("+", matrix({ ...common, symbol: "pre", label: "x, as it came in", name: `${at}.resid_pre`, role: "residual", values: before }, board)),
      row("→", matrix({ ...common, symbol: "mid", label: "x, with what the heads found", name: `${at}.resid_mid`, role: "residual", values: after, work: (i, j) => ({ text: `${digits(before.at(i, j))} + ${digits(added.at(i, j))}`, from: [["pre", i, j], ["attn_out", i, j]] }) }, board)),
    ],
  };
}

