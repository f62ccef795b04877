/* All heads of a layer, their results side by side, and W_Output. */

import { rootStep, table } from "../picture/colour.js";
import { make } from "../picture/elements.js";
import { written } from "../picture/notation.js";
import { Board } from "./board.js";
import { matrix } from "./matrix.js";
import { columnOf, numbered, ofHead, rowOf } from "./slices.js";
import { missing, row, shapes } from "./step.js";
import { digits, plusBias, products, shape } from "./writing.js";

export function heads(context) {
  const { pass, place, choose } = context;
  const { layer } = place;
  const { n_kv_head } = pass.anatomy;
  const pattern = pass.get(`blocks.${layer}.attn.pattern`);
  if (!pattern) return { stage: [missing(context, `Layer ${layer}`)] };
  const [n_head, n] = pattern.shape;
  const group = n_head / n_kv_head;
  const thumbs = [...Array(n_head).keys()].map((head) => {
    const shares = pattern.below(head, place.position);
    const most = shares.reduce((best, share, j) => (share > shares[best] ? j : best), 0);
    const canvas = make("canvas", { width: n, height: n, "aria-hidden": "true" });
    const colours = table("sequential");
    const image = new ImageData(n, n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const at = 3 * rootStep(pattern.at(head, i, j));
        image.data.set([colours[at], colours[at + 1], colours[at + 2], 255], 4 * (i * n + j));
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    const says = `“${pass.pieces[place.position].shown}” → “${pass.pieces[most].shown}” ${written(shares[most], "percent")}`;
    return make(
      "button",
      {
        type: "button",
        className: "head-thumb",
        "aria-pressed": String(head === place.head),
        "data-key": `head ${head}`,
        onclick: () => choose({ head }),
      },
      make("b", { textContent: `head ${head}` }),
      canvas,
      make("span", { textContent: says }),
      group > 1 ? make("small", { textContent: `key, value head ${Math.floor(head / group)}` }) : null,
    );
  });
  return {
    known: { layer: String(layer), n_head: String(n_head), n_layer: String(pass.hparams.n_layer) },
    stage: [
      shapes(`${n_head} × softmax ${shape(n, n)}: rows ask, columns are looked at; colour by the share's square root`),
      make("div", { className: "head-grid" }, ...thumbs),
    ],
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
    symbol: "concat",
    label: "concat(z_1 … z_h)",
    name: `blocks.${place.layer}.attn.z`,
    role: "residual",
    values: sideBySide(z),
    kind: "read",
    layer: place.layer,
    rows: pass.pieces.map(({ shown }) => shown),
    followed: place.position,
    columns: [...Array(z.shape[1] * d_k).keys()].map((j) => `${Math.floor(j / d_k)}·${j % d_k}`),
    across: "head · number",
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
    matrix(
      {
        symbol: `z${head}`,
        label: `z of head ${head}`,
        name: `blocks.${place.layer}.attn.z`,
        role: "residual",
        values: ofHead(z, head, 1),
        compact: true,
        rows,
        kind: "read",
        layer: place.layer,
        head,
        followed: place.position,
      },
      board,
    ),
  );
  const work = (i, j) => ({ text: `number ${j % d_k} of head ${Math.floor(j / d_k)}`, from: [[`z${Math.floor(j / d_k)}`, i, j % d_k]] });
  return {
    board,
    known: { n_head: String(n_head), d_k: String(d_k), n_embd: String(pass.hparams.n_embd) },
    formula: [
      { symbol: "concat", text: "concat", role: "residual" },
      "(",
      ...(n_head <= 4
        ? own.flatMap((_, head) => [...(head ? [", "] : []), { symbol: `z${head}`, text: `z_${head + 1}`, role: "residual" }])
        : [{ symbol: "z0", text: "z_1", role: "residual" }, `, …, `, { symbol: `z${n_head - 1}`, text: `z_${n_head}`, role: "residual" }]),
      ")",
    ],
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
  const shifted = pass.anatomy.biases.includes("attn.c_proj");
  const common = { rows: spec.rows, followed: place.position, layer, kind: "read" };
  const [n, m] = side.shape;
  const work = (i, j) =>
    weight && (bias || !shifted)
      ? {
          text: products(rowOf(side, i), columnOf(weight, j)) + plusBias(bias?.at(j), shifted),
          from: [
            ["concat", i, null],
            ["W_Output", null, j],
          ],
        }
      : { text: `concat[${i}] · W_Output[:, ${j}]${plusBias(null, shifted)}`, from: [["concat", i, null]] };
  return {
    board,
    known: { n_head: String(z.shape[1]), d_k: String(z.shape[2]), n_embd: String(added.shape[1]) },
    formula: [
      { symbol: "attn_out", role: "residual" },
      " = ",
      { symbol: "concat", text: "concat(z_1 … z_h)", role: "residual" },
      " · ",
      { symbol: "W_Output", role: "residual" },
      shifted ? " + bias;  " : ";  ",
      { symbol: "mid", text: "x", role: "residual" },
      " = ",
      { symbol: "pre", text: "x", role: "residual" },
      " + ",
      { symbol: "attn_out", role: "residual" },
    ],
    stage: [
      row(matrix(spec, board)),
      row(
        ...(weight ? ["·"] : []),
        weight
          ? matrix(
              {
                symbol: "W_Output",
                name: `h.${layer}.attn.c_proj.weight`,
                role: "residual",
                values: weight,
                rows: numbered(weight.shape[0]),
                layer,
                kind: "read",
                positions: false,
              },
              board,
            )
          : missing(context, "W_Output of this layer"),
      ),
      shapes(`${shape(n, m)} · ${shape(m, added.shape[1])} → ${shape(...added.shape)}`),
      row("→", matrix({ ...common, symbol: "attn_out", name: `${at}.attn_out`, role: "residual", values: added, work }, board)),
      row(
        "+",
        matrix({ ...common, symbol: "pre", label: "x, as it came in", name: `${at}.resid_pre`, role: "residual", values: before }, board),
      ),
      row(
        "→",
        matrix(
          {
            ...common,
            symbol: "mid",
            label: "x, with what the heads found",
            name: `${at}.resid_mid`,
            role: "residual",
            values: after,
            work: (i, j) => ({
              text: `${digits(before.at(i, j))} + ${digits(added.at(i, j))}`,
              from: [
                ["pre", i, j],
                ["attn_out", i, j],
              ],
            }),
          },
          board,
        ),
      ),
    ],
  };
}
