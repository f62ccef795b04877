/* The step from tokens to the first x: embeddings. */

import { make } from "../picture/elements.js";
import { counted } from "../picture/notation.js";
import { Board } from "./board.js";
import { matrix } from "./matrix.js";
import { missing, player, row, shapes } from "./step.js";
import { calm, digits, shape } from "./writing.js";

export function embeddings(context) {
  const { pass, place } = context;
  const board = new Board(pass);
  const names = pass.pieces.map(({ shown }) => shown);
  const [embed, position, x] = ["embed", "pos_embed", "blocks.0.resid_pre"].map((name) => pass.get(name));
  const plus = pass.anatomy.added;
  if (!embed || !x || (plus && !position)) return { stage: [missing(context, "The embeddings")] };
  const common = { rows: names, kind: "read", followed: place.position };
  const looked = matrix(
    {
      ...common,
      symbol: "embed",
      label: "wte[id]",
      name: "embed",
      role: "residual",
      values: embed,
      work: (i, j) => ({
        text: `wte[${pass.pieces[i].id}, ${j}], row ${pass.pieces[i].id} of the dictionary`,
        from: [["wte", context.entryRow?.(i) ?? -1, j]],
      }),
    },
    board,
  );
  const { d, lookUp, play } = dictionary(context, board, looked);
  const added =
    plus &&
    matrix(
      {
        ...common,
        symbol: "pos",
        label: "wpe[position]",
        name: "pos_embed",
        role: "residual",
        values: position,
        work: (i, j) => ({ text: `wpe[${pass.first + i}, ${j}], the array of position ${pass.first + i}` }),
      },
      board,
    );
  const whole = matrix(
    {
      ...common,
      symbol: "x",
      name: "blocks.0.resid_pre",
      role: "residual",
      values: x,
      work: (i, j) =>
        plus
          ? {
              text: `${digits(embed.at(i, j))} + ${digits(position.at(i, j))}`,
              from: [
                ["embed", i, j],
                ["pos", i, j],
              ],
            }
          : { text: "the same number: nothing is added", from: [["embed", i, j]] },
    },
    board,
  );
  const [n, m] = x.shape;
  const id = pass.pieces[place.position].id;
  return {
    board,
    known: { name: names[place.position], id: String(id) },
    formula: [
      { symbol: "x", role: "residual" },
      " = ",
      { symbol: "embed", text: "wte[id]", role: "residual" },
      ...(plus ? [" + ", { symbol: "pos", text: "wpe[position]", role: "residual" }] : []),
    ],
    stage: [
      lookUp,
      shapes(`${counted(n)} ids → ${counted(n)} rows of wte ${shape(pass.hparams.n_vocab, m)} → ${shape(n, m)}`),
      row(d, "→", looked),
      plus && shapes(`${shape(n, m)} + ${shape(n, m)} → ${shape(n, m)}`),
      plus ? row("+", added, "→", whole) : row("→", whole),
    ],
    play,
    moments: names.length,
  };
}

/* The dictionary around one token's row, and a player that looks up token after token: the row
   slides out of it. */
function dictionary(context, board, looked) {
  const { pass, place } = context;
  const host = make("div", { className: "dictionary" });
  const show = (i) => {
    const { id } = pass.pieces[i];
    const near = pass.near(id);
    const entries = near.map((other) => pass.entry(other));
    context.entryRow = (piece) => near.indexOf(pass.pieces[piece].id);
    const spec = {
      symbol: "wte",
      label: `wte, the dictionary, around row ${id}`,
      name: "wte.weight",
      role: "residual",
      kind: "read",
      positions: false,
      rows: near.map((other) => `${other} ${pass.show(other)}`),
      followed: near.indexOf(id),
      values: { shape: [near.length, entries[0].length], at: (r, j) => entries[r][j] },
    };
    host.replaceChildren(matrix(spec, board));
  };
  const rowsOf = () => [...looked.querySelectorAll("tbody tr")];
  const controls = player("look-up", pass.pieces.length, pass.pieces.length, (at, moved) => {
    rowsOf().forEach((tr, i) => {
      tr.classList.toggle("waiting", i >= at);
      tr.classList.toggle("slides", moved && !calm() && i === at - 1);
    });
    show(moved ? Math.max(0, at - 1) : place.position);
  });
  return {
    d: host,
    play: controls.go,
    lookUp: make(
      "div",
      { className: "looking" },
      make("span", { className: "caption", textContent: "Look up, token by token: " }),
      controls.element,
    ),
  };
}
