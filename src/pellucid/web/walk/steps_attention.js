/* The norm, and self-attention of one head. */

import { make } from "../picture/elements.js";
import { written } from "../picture/notation.js";
import { Board } from "./board.js";
import { matrix } from "./matrix.js";
import { columnOf, numbered, ofHead, rowOf } from "./slices.js";
import { missing, row, shapes } from "./step.js";
import { digits, dot, plusBias, products, shape } from "./writing.js";

export function norm(context) {
  const { pass, place } = context;
  const { layer } = place;
  const board = new Board(pass);
  const at = `blocks.${layer}`;
  const [x, scale, normalized, out] = ["resid_pre", "ln1.scale", "ln1.normalized", "ln1.out"].map((name) => pass.get(`${at}.${name}`));
  if (!x || !out || !scale || !normalized) return { stage: [missing(context, `Layer ${layer}`)] };
  const rows = pass.pieces.map(({ shown }) => shown);
  const common = { rows, followed: place.position, layer, kind: "read" };
  const { centres, biases } = pass.anatomy;
  const mean = (i) => rowOf(x, i).reduce((sum, value) => sum + value, 0) / x.shape[1];
  const [gain, bias] = ["weight", "bias"].map((kind) => pass.get(`h.${layer}.ln_1.${kind}`));
  const shifted = biases.includes("ln_1");
  const affine = (i, j) =>
    gain && (bias || !shifted)
      ? `${digits(normalized.at(i, j))} × ${digits(gain.at(j))}${shifted ? ` + ${digits(bias.at(j))}` : ""}`
      : `${digits(normalized.at(i, j))} · gain${shifted ? " + bias" : ""}`;
  const brought = centres ? "(x − mean) / deviation" : "x / √mean(x²)";
  const over = (i, j) => (centres ? `(${digits(x.at(i, j))} − ${digits(mean(i))})` : digits(x.at(i, j)));
  return {
    board,
    formula: [
      { symbol: "norm", text: "norm(x)", role: "residual" },
      " = ",
      { symbol: "normalized", text: brought, role: "residual" },
      shifted ? " · gain + bias" : " · gain",
    ],
    own: [
      `Before a layer's heads look at ${rows.length === 1 ? "the array" : "the arrays"}, each ${centres ? "is brought to mean 0 and deviation 1" : "is divided by the root of the mean of its squares"}, then stretched${shifted ? " and shifted" : ""} by numbers that were learned, the same for every token.`,
    ],
    stage: [
      row(matrix({ ...common, symbol: "x", name: `${at}.resid_pre`, role: "residual", values: x }, board)),
      row(
        "→",
        matrix(
          {
            ...common,
            symbol: "normalized",
            label: brought,
            name: `${at}.ln1.normalized`,
            role: "residual",
            values: normalized,
            work: (i, j) => ({ text: `${over(i, j)} / ${digits(scale.at(i, 0))}`, from: [["x", i, null]] }),
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

/* What a query or key goes through before it is multiplied, each station made of the one before it. */
function stations(context, board, names, symbol, spec, own) {
  const { pass, place } = context;
  const { turns, d_k } = pass.anatomy;
  const at = `blocks.${place.layer}`;
  const made = names.map((name) => ofHead(pass.get(`${at}.${name}`), own, 1));
  const symbols = [symbol];
  for (const name of names.slice(1)) {
    const before = symbols.at(-1);
    symbols.push(name.startsWith("attn.rot_") ? `turn(${before})` : name.endsWith(".out") ? `norm(${symbol})` : `${before} / scale`);
  }
  const figures = names.slice(1).map((name, n) => {
    const [from, to] = [made[n], made[n + 1]];
    const before = symbols[n];
    const station = { ...spec, symbol: symbols[n + 1], name: `${at}.${name}`, values: to };
    if (name.startsWith("attn.rot_")) {
      /* Pair i is the numbers i and i + d_k / 2: (a, b) → (a·cos − b·sin, b·cos + a·sin). */
      const half = d_k / 2;
      const work = (i, j) => {
        const angle = (pass.first + i) * turns.frequencies[j % half];
        const [cos, sin] = [Math.cos(angle) * turns.scale, Math.sin(angle) * turns.scale];
        const other = j < half ? j + half : j - half;
        return {
          text: products([from.at(i, j), from.at(i, other)], [cos, j < half ? -sin : sin]),
          from: [
            [before, i, j],
            [before, i, other],
          ],
        };
      };
      return matrix({ ...station, label: `${symbols[n + 1]}: each pair turned by its position`, work }, board);
    }
    const scale = ofHead(pass.get(`${at}.${name.replace(/\w+$/, "scale")}`), own, 1);
    const gain = pass.get(`h.${place.layer}.${name.replace(/\.\w+$/, ".weight")}`);
    const divided = name.endsWith(".normalized");
    const by = divided ? (scale ? (i) => digits(scale.at(i, 0)) : () => "scale") : gain ? (_, j) => digits(gain.at(j)) : () => "gain";
    const work = (i, j) => ({ text: `${digits(from.at(i, j))} ${divided ? "/" : "×"} ${by(i, j)}`, from: [[before, i, j]] });
    return matrix({ ...station, label: divided ? symbols[n + 1] : `${symbols[n + 1]} = ${before} · gain`, work }, board);
  });
  return { last: made.at(-1), symbol: symbols.at(-1), figures };
}

export function attention(context) {
  const { pass, place } = context;
  const { anatomy } = pass;
  const { layer, head, position } = place;
  const board = new Board(pass);
  const at = `blocks.${layer}`;
  const x = pass.get(`${at}.ln1.out`);
  const { n_head } = pass.hparams;
  const group = n_head / anatomy.n_kv_head;
  const shared = Math.floor(head / group); /* the head of keys and values that this one reads */
  const [q, k, v, z] = ["q", "k", "v", "z"].map((name) => ofHead(pass.get(`${at}.attn.${name}`), "kv".includes(name) ? shared : head, 1));
  const [qk, scores, pattern] = ["qk", "scores", "pattern"].map((name) => ofHead(pass.get(`${at}.attn.${name}`), head, 0));
  if (![x, q, k, v, z, qk, scores, pattern].every(Boolean)) return { stage: [missing(context, `Layer ${layer}`)] };
  const rows = pass.pieces.map(({ shown }) => shown);
  const [n, d_k] = q.shape;
  const m = x.shape[1];
  const root = Math.sqrt(d_k);
  const of = { layer, head, followed: position, rows, kind: "read" };
  const ofShared = { ...of, head: shared };
  const asked = stations(context, board, anatomy.query, "q", { ...of, role: "query", narrow: true }, head);
  const offered = stations(context, board, anatomy.key, "k", { ...ofShared, role: "key", narrow: true }, shared);
  if (!asked.last || !offered.last) return { stage: [missing(context, `Layer ${layer}`)] };
  const shifted = anatomy.biases.includes("attn.c_attn");
  const readers = `head ${shared} of keys and values, which the heads ${shared * group} to ${(shared + 1) * group - 1} read`;
  const weights = pass.projections(layer, head);
  const values = { q, k, v };
  const projected = PARTS.map(([symbol, role, name]) => {
    const part = weights?.[role];
    const work = (i, j) =>
      part
        ? {
            text: products(rowOf(x, i), columnOf(part.weight, j)) + plusBias(part.bias?.[j], shifted),
            from: [
              ["norm", i, null],
              [name, null, j],
            ],
          }
        : { text: `norm(x)[${i}] · ${name}[:, ${j}]${plusBias(null, shifted)}`, from: [["norm", i, null]] };
    const whose = symbol === "q" ? of : ofShared;
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
              head: whose.head,
              kind: "read",
              positions: false,
            },
            board,
          )
        : missing(context, `${name} of this head`),
      shapes(`${shape(n, m)} · ${shape(m, d_k)} → ${shape(n, d_k)}`),
      matrix(
        { ...whose, symbol, label: `${role} ${symbol}`, name: `${at}.attn.${symbol}`, role, values: values[symbol], narrow: true, work },
        board,
      ),
      ...(symbol === "q" ? asked.figures : symbol === "k" ? offered.figures : []),
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
  const band = anatomy.reach[layer];
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
      n_head: String(n_head),
      ...(group > 1 ? { n_kv_head: String(anatomy.n_kv_head) } : {}),
    },
    formula: [
      { symbol: "z", role: "residual" },
      " = ",
      { symbol: "pattern", text: "softmax", role: "attention" },
      "(",
      { symbol: asked.symbol, role: "query" },
      " · ",
      { symbol: offered.symbol, text: `${offered.symbol}ᵀ`, role: "key" },
      " / ",
      { symbol: "qk", text: "√d_k", role: "attention" },
      ") · ",
      { symbol: "v", role: "value" },
    ],
    stage: [
      row(matrix({ ...of, head: undefined, symbol: "norm", label: "norm(x)", name: `${at}.ln1.out`, role: "residual", values: x }, board)),
      group > 1 && shapes(`This head, ${head}, reads ${readers}.`),
      make("div", { className: "projections" }, ...projected),
      shapes(`${asked.symbol} · ${offered.symbol}ᵀ: ${shape(n, d_k)} · ${shape(d_k, n)} → ${shape(n, n)}`),
      make(
        "div",
        { className: "chain" },
        matrix(
          {
            ...pairs,
            symbol: "qkT",
            label: `${asked.symbol} · ${offered.symbol}ᵀ`,
            name: `${at}.attn.qk · √d_k`,
            kind: "derived",
            role: "attention",
            values: product,
            work: (i, j) => ({
              text: products(rowOf(asked.last, i), rowOf(offered.last, j)),
              from: [
                [asked.symbol, i, null],
                [offered.symbol, j, null],
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
