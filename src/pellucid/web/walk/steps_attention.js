/* The norm, and self-attention of one head. */

import { make } from "../picture/elements.js";
import { written } from "../picture/notation.js";
import { Board } from "./board.js";
import { matrix } from "./matrix.js";
import { columnOf, numbered, ofHead, rowOf } from "./slices.js";
import { missing, row, shapes } from "./step.js";
import { digits, dot, products, shape } from "./writing.js";

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
  const affine = (i, j) =>
    gain && bias
      ? `${digits(normalized.at(i, j))} × ${digits(gain.at(j))} + ${digits(bias.at(j))}`
      : `${digits(normalized.at(i, j))} · gain + bias`;
  return {
    board,
    formula: [
      { symbol: "norm", text: "norm(x)", role: "residual" },
      " = ",
      { symbol: "normalized", text: "(x − mean) / deviation", role: "residual" },
      " · gain + bias",
    ],
    own: [
      `Before a layer's heads look at ${rows.length === 1 ? "the array" : "the arrays"}, each is brought to mean 0 and deviation 1, then stretched and shifted by numbers that were learned, the same for every token.`,
    ],
    stage: [
      row(matrix({ ...common, symbol: "x", name: `${at}.resid_pre`, role: "residual", values: x }, board)),
      row(
        "→",
        matrix(
          {
            ...common,
            symbol: "normalized",
            label: "(x − mean) / deviation",
            name: `${at}.ln1.normalized`,
            role: "residual",
            values: normalized,
            work: (i, j) => ({ text: `(${digits(x.at(i, j))} − ${digits(mean(i))}) / ${digits(scale.at(i, 0))}`, from: [["x", i, null]] }),
          },
          board,
        ),
      ),
      row(
        "→",
        matrix(
          {
            ...common,
            symbol: "norm",
            label: "norm(x)",
            name: `${at}.ln1.out`,
            role: "residual",
            values: out,
            work: (i, j) => ({ text: affine(i, j), from: [["normalized", i, j]] }),
          },
          board,
        ),
      ),
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
        ? {
            text: `${products(rowOf(x, i), columnOf(part.weight, j))} + bias ${digits(part.bias[j])}`,
            from: [
              ["norm", i, null],
              [name, null, j],
            ],
          }
        : { text: `norm(x)[${i}] · ${name}[:, ${j}] + bias`, from: [["norm", i, null]] };
    return make(
      "div",
      { className: "projection" },
      part
        ? matrix(
            {
              symbol: name,
              name: `h.${layer}.attn.c_attn.weight, ${name}`,
              role,
              values: part.weight,
              narrow: true,
              rows: numbered(m),
              layer,
              head,
              kind: "read",
              positions: false,
            },
            board,
          )
        : missing(context, `${name} of this head`),
      shapes(`${shape(n, m)} · ${shape(m, d_k)} → ${shape(n, d_k)}`),
      matrix(
        { ...of, symbol, label: `${role} ${symbol}`, name: `${at}.attn.${symbol}`, role, values: values[symbol], narrow: true, work },
        board,
      ),
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
  const hidden = (i, j) => !Number.isFinite(scores.at(i, j));
  /* GPT-3's banded layers */
  const band = layer % 2 ? pass.hparams.band : undefined;
  const earlier = (i, j) => z.at(i, j) - dot(rowOf(pattern, i), columnOf(v, j));
  const rest = (i, j) => (pass.first > 0 ? ` + ${digits(earlier(i, j))} from earlier tokens` : "");
  return {
    board,
    known: {
      layer: String(layer),
      head: String(head),
      d_k: String(d_k),
      name: rows[position],
      other: rows[most],
      share: written(pattern.at(position, most), "percent"),
    },
    formula: [
      { symbol: "z", role: "residual" },
      " = ",
      { symbol: "pattern", text: "softmax", role: "attention" },
      "(",
      { symbol: "q", role: "query" },
      " · ",
      { symbol: "k", text: "kᵀ", role: "key" },
      " / ",
      { symbol: "qk", text: "√d_k", role: "attention" },
      ") · ",
      { symbol: "v", role: "value" },
    ],
    stage: [
      row(matrix({ ...of, head: undefined, symbol: "norm", label: "norm(x)", name: `${at}.ln1.out`, role: "residual", values: x }, board)),
      make("div", { className: "projections" }, ...projected),
      shapes(`q · kᵀ: ${shape(n, d_k)} · ${shape(d_k, n)} → ${shape(n, n)}`),
      make(
        "div",
        { className: "chain" },
        matrix(
          {
            ...pairs,
            symbol: "qkT",
            label: "q · kᵀ",
            name: `${at}.attn.qk · √d_k`,
            kind: "derived",
            role: "attention",
            values: product,
            work: (i, j) => ({
              text: products(rowOf(q, i), rowOf(k, j)),
              from: [
                ["q", i, null],
                ["k", j, null],
              ],
            }),
          },
          board,
        ),
        matrix(
          {
            ...pairs,
            symbol: "qk",
            label: `÷ √d_k = ${digits(root)}`,
            name: `${at}.attn.qk`,
            role: "attention",
            values: qk,
            work: (i, j) => ({ text: `${digits(product.at(i, j))} / √${d_k}`, from: [["qkT", i, j]] }),
          },
          board,
        ),
        matrix(
          {
            ...pairs,
            symbol: "scores",
            label: band ? `mask: each token sees the last ${band}, its own among them` : "mask: no token sees a later one",
            name: `${at}.attn.scores`,
            role: "attention",
            values: scores,
            work: (i, j) => ({
              text: hidden(i, j) ? `hidden: “${rows[j]}” comes ${j > i ? "after" : "too long before"} “${rows[i]}”` : "kept",
              from: [["qk", i, j]],
            }),
          },
          board,
        ),
        matrix(
          {
            ...pairs,
            symbol: "pattern",
            label: "softmax: shares, each row sums to 1",
            name: `${at}.attn.pattern`,
            role: "attention",
            values: pattern,
            ground: "share",
            hidden,
            work: (i, j) =>
              hidden(i, j)
                ? { text: "e^−∞", from: [["scores", i, j]] }
                : {
                    text: `e^(${digits(scores.at(i, j))} − ${digits(exps(i).high)}) / ${digits(exps(i).sum)}`,
                    from: [["scores", i, null]],
                  },
          },
          board,
        ),
      ),
      shapes(`shares · v: ${shape(n, n)} · ${shape(n, d_k)} → ${shape(n, d_k)}`),
      row(
        matrix(
          {
            ...of,
            symbol: "z",
            label: "z, what the head found",
            name: `${at}.attn.z`,
            role: "residual",
            values: z,
            work: (i, j) => ({
              text:
                products(
                  sees(i).map((key) => pattern.at(i, key)),
                  sees(i).map((key) => v.at(key, j)),
                ) + rest(i, j),
              from: [
                ["pattern", i, null],
                ["v", null, j],
              ],
            }),
          },
          board,
        ),
      ),
    ],
  };
}
