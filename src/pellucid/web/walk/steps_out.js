/* The steps from the MLP to the next token: the residual stream, the layers, the output layer. */

import { distribution } from "../picture/distribution.js";
import { make } from "../picture/elements.js";
import { bar } from "../picture/bars.js";
import { counted, written } from "../picture/notation.js";
import { Numbers } from "../picture/numbers.js";
import { likeliest, probabilities } from "../picture/sampling.js";
import { Board } from "./board.js";
import { matrix } from "./matrix.js";
import { missing, row, shapes } from "./step.js";
import { columnOf, rowOf } from "./slices.js";
import { digits, dot, exact, plusBias, products, shape } from "./writing.js";

export function mlp(context) {
  const { pass, place } = context;
  const { layer } = place;
  const board = new Board(pass);
  const at = `blocks.${layer}`;
  const [mid, normed, pre, post, out, after] = ["resid_mid", "ln2.out", "mlp.pre", "mlp.post", "mlp_out", "resid_post"].map((name) =>
    pass.get(`${at}.${name}`),
  );
  if (!mid || !out || !after) return { stage: [missing(context, `Layer ${layer}`)] };
  const rows = pass.pieces.map(({ shown }) => shown);
  const common = { rows, followed: place.position, layer, kind: "read" };
  const weights = (name) => ["weight", "bias"].map((kind) => pass.get(`h.${layer}.mlp.${name}.${kind}`));
  const { gated, biases, n_inner } = pass.anatomy;
  /* from: the first column, where two matrices lie side by side */
  const through = (source, symbol, name, from = 0) => {
    const [weight, bias] = weights(name);
    const shifted = biases.includes(`mlp.${name}`);
    return (i, j) => ({
      text:
        weight && (bias || !shifted)
          ? products(rowOf(source, i), columnOf(weight, from + j)) + plusBias(bias?.at(from + j), shifted)
          : `${symbol}[${i}] · ${name}[:, ${from + j}]${plusBias(null, shifted)}`,
      from: [[symbol, i, null]],
    });
  };
  const neurons = { ...common, role: "mlp", across: "neuron" };
  const linear = gated ? pass.get(`${at}.mlp.pre_linear`) : null;
  const inside = normed && pre && post && (linear || !gated);
  const before = gated ? "the gates: norm(x) · W_gate" : "neurons, before";
  const [n, m] = mid.shape;
  return {
    board,
    known: { neurons: counted(n_inner) },
    formula: [
      { symbol: "after", text: "x", role: "residual" },
      " = ",
      { symbol: "mid", text: "x", role: "residual" },
      " + ",
      { symbol: "out", text: "mlp", role: "mlp" },
      "(",
      { symbol: "norm", text: "norm(x)", role: "residual" },
      ")",
    ],
    stage: [
      row(matrix({ ...common, symbol: "mid", label: "x", name: `${at}.resid_mid`, role: "residual", values: mid }, board)),
      inside
        ? row("→", matrix({ ...common, symbol: "norm", label: "norm(x)", name: `${at}.ln2.out`, role: "residual", values: normed }, board))
        : missing(context, "The inside of this MLP"),
      inside &&
        shapes(
          `${shape(n, m)} · ${gated ? "2 × " : ""}${shape(m, n_inner)} → ${shape(n, n_inner)} → ${gated ? "silu(gate) × neuron" : "gelu"} → ${shape(n, n_inner)} · ${shape(n_inner, m)} → ${shape(n, m)}`,
        ),
      inside &&
        row(
          "→",
          matrix(
            {
              ...neurons,
              symbol: "pre",
              label: before,
              name: `${at}.mlp.pre`,
              values: pre,
              work: through(normed, "norm", "c_fc"),
            },
            board,
          ),
        ),
      inside &&
        gated &&
        row(
          "→",
          matrix(
            {
              ...neurons,
              symbol: "linear",
              label: "neurons, before: norm(x) · W_up",
              name: `${at}.mlp.pre_linear`,
              values: linear,
              work: through(normed, "norm", "c_fc", n_inner),
            },
            board,
          ),
        ),
      inside &&
        row(
          gated ? "silu(gate) × neuron →" : "gelu →",
          matrix(
            {
              ...neurons,
              symbol: "post",
              label: "neurons, after",
              name: `${at}.mlp.post`,
              values: post,
              work: (i, j) =>
                gated
                  ? {
                      text: `silu(${digits(pre.at(i, j))}) × ${digits(linear.at(i, j))}`,
                      from: [
                        ["pre", i, j],
                        ["linear", i, j],
                      ],
                    }
                  : { text: `gelu(${digits(pre.at(i, j))})`, from: [["pre", i, j]] },
            },
            board,
          ),
        ),
      row(
        "→",
        matrix(
          {
            ...common,
            symbol: "out",
            label: "mlp(norm(x))",
            name: `${at}.mlp_out`,
            role: "mlp",
            values: out,
            work: inside ? through(post, "post", "c_proj") : undefined,
          },
          board,
        ),
      ),
      row(
        "+ x →",
        matrix(
          {
            ...common,
            symbol: "after",
            label: `x, the output of layer ${layer}`,
            name: `${at}.resid_post`,
            role: "residual",
            values: after,
            work: (i, j) => ({
              text: `${digits(mid.at(i, j))} + ${digits(out.at(i, j))}`,
              from: [
                ["mid", i, j],
                ["out", i, j],
              ],
            }),
          },
          board,
        ),
      ),
    ],
  };
}

/* A ladder: what the model would say if it stopped at each rung. */
export function layers(context) {
  const { pass, place, choose } = context;
  const ladder = pass.lens(place.position).map(({ layer, top }) => {
    const [first, ...others] = top;
    const named = layer === "embed" ? "embeddings" : `layer ${layer}`;
    const stream = pass.get(layer === "embed" ? "blocks.0.resid_pre" : `blocks.${layer}.resid_post`);
    const length = stream ? [`‖x‖ ${digits(Math.hypot(...rowOf(stream, place.position)))}`] : [];
    return make(
      "li",
      { className: layer === String(place.layer) ? "here" : "" },
      layer === "embed"
        ? make("span", { textContent: named })
        : make("button", {
            type: "button",
            className: "option",
            textContent: named,
            "data-key": `rung ${layer}`,
            "aria-pressed": String(layer === String(place.layer)),
            onclick: () => choose({ layer: Number(layer) }),
          }),
      make("span", { className: "token said", textContent: pass.show(first.id) }),
      make("span", { className: "track" }, bar(first.share, 1, false, "bar")),
      make("span", { className: "number", textContent: written(first.share, "percent"), "data-value": first.share }),
      make("small", {
        textContent: [...length, ...others.map(({ id, share }) => `${pass.show(id)} ${written(share, "percent")}`)].join("   "),
      }),
    );
  });
  return {
    known: { n_layer: String(pass.hparams.n_layer) },
    stage: [
      make("p", {
        className: "caption",
        textContent: `After “${pass.pieces[place.position].shown}”: what would it say if it stopped here? Bottom up, as the stream flows; ‖x‖ is how long its array is there.`,
      }),
      make("ol", { className: "ladder" }, ...ladder.reverse()),
    ],
  };
}

export function prediction(context) {
  const { pass, place, memory } = context;
  const board = new Board(pass);
  const [x, logits] = [pass.get("ln_final.out"), pass.get("logits")];
  if (!x || !logits) return { stage: [missing(context, "The output")] };
  const own = Float64Array.from(logits.below(place.position));
  const shares = probabilities(own, {});
  const order = likeliest(shares);
  const top = order.slice(0, 8);
  const name = pass.pieces[place.position].shown;
  const rows = pass.pieces.map(({ shown }) => shown);
  const rowsOut = top.map((id) => pass.output(id));
  const entries = rowsOut.every(Boolean) ? rowsOut : null;
  const table = pass.anatomy.tied ? "wte" : "head";
  const one = (values) => ({ shape: [1, values.length], at: (_, j) => values[j] });
  const common = { rows: [name], kind: "read", positions: false };
  const normed = rowOf(x, place.position);
  const listed = { ...common, columns: top.map((id) => pass.show(id)), across: "token" };
  const high = own[order[0]];
  const total = own.reduce((sum, value) => sum + Math.exp(value - high), 0);
  memory.sampling ??= { temperature: 1, topK: null, topP: null };
  return {
    board,
    known: {
      name,
      n_vocab: counted(pass.hparams.n_vocab),
      read: pass.pieces
        .slice(0, place.position + 1)
        .map(({ shown }) => shown)
        .join("")
        .replace(/␣/g, " "),
      token: pass.show(order[0]),
      id: String(order[0]),
      share: written(shares[order[0]], "percent"),
    },
    formula: [
      { symbol: "logits", role: "prediction" },
      " = ",
      { symbol: "x", text: "norm(x)", role: "residual" },
      " · ",
      { symbol: "wte", text: `${table}ᵀ`, role: "residual" },
      ";  ",
      { symbol: "shares", text: "softmax", role: "prediction" },
      "(",
      { symbol: "logits", role: "prediction" },
      ")",
    ],
    stage: [
      row(
        matrix(
          {
            symbol: "x",
            label: "norm(x)",
            name: "ln_final.out",
            role: "residual",
            values: x,
            rows,
            kind: "read",
            followed: place.position,
          },
          board,
        ),
      ),
      entries &&
        row(
          "·",
          matrix(
            {
              symbol: "wte",
              label: pass.anatomy.tied ? "wteᵀ: the dictionary again, the 8 best" : "headᵀ: the output layer's own table, the 8 best",
              name: pass.anatomy.tied ? "wte.weight" : "lm_head.weight",
              role: "residual",
              kind: "read",
              positions: false,
              rows: top.map((id) => pass.show(id)),
              values: { shape: [top.length, entries[0].length], at: (r, j) => entries[r][j] },
            },
            board,
          ),
        ),
      shapes(`${shape(1, x.shape[1])} · ${shape(x.shape[1], pass.hparams.n_vocab)} → ${shape(1, pass.hparams.n_vocab)}; the 8 likeliest:`),
      row(
        "→",
        matrix(
          {
            ...listed,
            symbol: "logits",
            name: "logits",
            role: "prediction",
            values: one(top.map((id) => own[id])),
            work: (_, j) =>
              entries
                ? {
                    text: products(normed, entries[j]),
                    from: [
                      ["x", place.position, null],
                      ["wte", j, null],
                    ],
                    value: dot(normed, entries[j]),
                  }
                : { text: `norm(x) · ${table}[${top[j]}]`, from: [["x", place.position, null]] },
          },
          board,
        ),
      ),
      row(
        "softmax →",
        matrix(
          {
            ...listed,
            symbol: "shares",
            label: "probabilities",
            name: "softmax(logits)",
            kind: "derived",
            role: "prediction",
            ground: "share",
            values: one(top.map((id) => shares[id])),
            form: (value) => `${exact(value)}, ${written(value, "percent")}`,
            cell: (value) => written(value, "percent"),
            work: (_, j) => ({ text: `e^(${digits(own[top[j]])} − ${digits(high)}) / ${digits(total)}`, from: [["logits", 0, j]] }),
          },
          board,
        ),
      ),
      make(
        "div",
        { className: "picture sampling" },
        make("p", { className: "caption strong", textContent: "Bend it: temperature, top-k, top-p" }),
        ...distribution({
          logits: new Numbers([own.length], own),
          ids: order.slice(0, 12),
          texts: order.slice(0, 12).map((id) => pass.show(id)),
          chosen: memory.sampling,
        }),
      ),
    ],
  };
}
