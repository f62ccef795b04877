/* A pass: where the walk's components take their numbers from. Two are here: of a machine in the
   page, and of what Python recorded in a file. A served page is a third. */

import { tokenText } from "../machine/tokenizer.js";
import { visible } from "../picture/notation.js";
import { Numbers, numbers } from "../picture/numbers.js";
import { likeliest, probabilities } from "../picture/sampling.js";

/**
 * @typedef {{ layer: number, head: number, position: number }} Place position: a row of the values
 * @typedef {{ id: number, shown: string }} Piece
 * @typedef {{ rank: number, pair: string[], parts: string[] }} Merge texts as they are shown
 * @typedef {{ id: number, share: number }} Likely
 * @typedef {{ shape: number[], at: (...place: number[]) => number }} Matrix
 * @typedef {{ weight: Matrix, bias: ArrayLike<number> | null }} Projection weight [n_embd, d_k], bias [d_k]
 * @typedef {{ n_vocab: number, n_ctx: number, n_embd: number, n_head: number, n_layer: number }} HParams
 * @typedef {{ position: number, token: number, share: number, others: { token: number, share: number }[], reason: string | null }} Predicted
 *
 * @typedef {object} Anatomy how a pass is put together (inspect/anatomy.py)
 * @property {boolean} added whether positions are added to the embeddings
 * @property {boolean} centres whether a norm takes the mean away first
 * @property {string[]} query what a query goes through, by its taps' names within a layer
 * @property {string[]} key the same of a key
 * @property {{ frequencies: number[], scale: number } | null} turns by how much their pairs turn from one
 *   position to the next
 * @property {number} n_kv_head heads of keys and values: each serves n_head / n_kv_head heads of queries
 * @property {number} d_k
 * @property {number} n_inner neurons of a layer
 * @property {(number | null)[]} reach the keys that a query sees in each layer at most
 * @property {boolean} gated whether each neuron has a gate: silu(gate) · neuron, else gelu(neuron)
 * @property {boolean} tied whether the output layer is the dictionary
 * @property {string[]} biases the places within a layer that have one, "attn.c_proj" say
 *
 * @typedef {object} Pass
 * @property {string} model whose numbers these are
 * @property {HParams} hparams
 * @property {Anatomy} anatomy
 * @property {boolean} live whether another text can be typed
 * @property {string} text
 * @property {string} note what was done to the text (empty, cut to the window), or ""
 * @property {Piece[]} pieces its tokens: a row of every value each
 * @property {Piece[]} left tokens beyond the window, which nothing is computed of
 * @property {number} first the position of pieces[0]; 0 unless the beginning is left out
 * @property {number} total the number of positions, also of those that are not here
 * @property {{ start: string[], merges: Merge[] | null }[] | null} words the text's words with their merges
 * @property {(name: string) => Numbers | null} get a value by its tap's name (no batch axis) or a weight by
 *   its name in weights.py; null where this pass does not hold it
 * @property {(layer: number, head: number) => { query: Projection, key: Projection, value: Projection } | null} projections
 *   what makes a head's q, k and v
 * @property {(id: number) => ArrayLike<number> | null} entry a row of the dictionary wte
 * @property {(id: number) => ArrayLike<number> | null} output a token's row of the output layer
 * @property {(id: number) => number[]} near ids around it whose rows are here
 * @property {(id: number) => string} show a token as it is shown
 * @property {(row: number) => { layer: string, top: Likely[] }[]} lens after "embed" and each layer
 * @property {() => { steps: Predicted[], reason: string, window: number, stops: string[] }} loop the greedy
 *   generation from here
 * @property {(needs: string[], place: Place) => Promise<void> | null} load null where all that a step needs
 *   (steps.js) is at hand at this place; else a promise of it, which may fail with what to tell a person
 */

const AROUND = 3; /* rows of the dictionary above and below */
const LENS = 3;

function top(logits, n) {
  const shares = probabilities(logits, {});
  return likeliest(shares)
    .slice(0, n)
    .map((id) => ({ id, share: shares[id] }));
}

function neighbours(id, n_vocab) {
  const from = Math.max(0, Math.min(id - AROUND, n_vocab - 2 * AROUND - 1));
  return [...Array(Math.min(n_vocab, 2 * AROUND + 1)).keys()].map((i) => from + i);
}

/** @implements {Pass} */
export class LivePass {
  /* ids: instead of the text's own, where a pass begins with special tokens. */
  constructor(machine, text, ids = null) {
    const read = ids ? { ids, all: ids, note: "" } : machine.read(text);
    const { tokenizer } = machine;
    this.machine = machine;
    this.model = machine.name;
    this.hparams = machine.hparams;
    this.anatomy = machine.anatomy;
    this.live = true;
    this.ids = read.ids;
    this.text = ids ? tokenizer.decode(ids) : text;
    this.note = read.note;
    this.pieces = read.ids.map((id) => ({ id, shown: this.show(id) }));
    this.left = read.all.slice(read.ids.length).map((id) => ({ id, shown: this.show(id) }));
    this.first = 0;
    this.total = this.pieces.length;
    this.words = ids ? null : tokenizer.words(text).map((word) => this.shownWord(word));
    this.values = read.ids.length ? machine.forward(read.ids) : new Map();
  }

  shownWord({ start, merges }) {
    const shown = (bytes) => visible(tokenText(bytes));
    const each = (merge) => ({ rank: merge.rank, pair: merge.pair.map(shown), parts: merge.parts.map(shown) });
    return { start: start.map(shown), merges: merges && merges.map(each) };
  }

  get(name) {
    return this.values.get(name) ?? this.machine.model.weights[name] ?? null;
  }

  load() {
    return null;
  }

  projections(layer, head) {
    const { n_embd, n_head } = this.hparams;
    const d_k = n_embd / n_head;
    const [weight, bias] = ["weight", "bias"].map((kind) => this.get(`h.${layer}.attn.c_attn.${kind}`));
    const part = (at) => {
      const from = at * n_embd + head * d_k;
      return { weight: { shape: [n_embd, d_k], at: (i, j) => weight.at(i, from + j) }, bias: bias.flat.subarray(from, from + d_k) };
    };
    return { query: part(0), key: part(1), value: part(2) };
  }

  entry(id) {
    return this.get("wte.weight").below(id);
  }

  output(id) {
    return this.entry(id);
  }

  near(id) {
    return neighbours(id, this.hparams.n_vocab);
  }

  show(id) {
    return visible(this.machine.tokenizer.text(id));
  }

  lens(i) {
    const names = ["blocks.0.resid_pre", ...[...Array(this.hparams.n_layer).keys()].map((layer) => `blocks.${layer}.resid_post`)];
    return names.map((name, at) => {
      const stream = this.get(name);
      const row = new Numbers([1, stream.shape[1]], stream.below(i));
      const last = at === names.length - 1;
      const logits = last ? this.get("logits").below(i) : this.machine.model.readout(row).flat;
      return { layer: at ? String(at - 1) : "embed", top: top(logits, LENS) };
    });
  }

  loop() {
    const { steps, reason, window } = this.machine.greedy(this.ids);
    const share = ({ token, logprob }) => ({ token, share: Math.exp(logprob) });
    return {
      steps: steps.map((step) => ({ ...step, share: Math.exp(step.logprob), others: step.alternatives.map(share) })),
      reason,
      window,
      stops: [...this.machine.stops].map((id) => this.show(id)),
    };
  }
}

function rowOf({ ids, rows }, id) {
  const at = ids.indexOf(id);
  return at < 0 ? null : numbers(rows).below(at);
}

/** @implements {Pass} */
export class RecordedPass {
  /* data: as `inspect.recorded` packs it. */
  constructor(data) {
    const seen = (pieces) => pieces.map(({ id, text }) => ({ id, shown: visible(text) }));
    this.data = data;
    this.live = false;
    this.model = data.model;
    this.hparams = data.hparams;
    this.anatomy = data.anatomy;
    this.text = data.text;
    this.note = data.note;
    this.pieces = seen(data.pieces);
    this.left = [];
    this.first = data.first;
    this.total = data.first + data.pieces.length;
    this.words =
      data.words &&
      data.words.map(({ start, merges }) => ({
        start: start.map(visible),
        merges: merges && merges.map(({ rank, pair, parts }) => ({ rank, pair: pair.map(visible), parts: parts.map(visible) })),
      }));
  }

  get(name) {
    const packed = this.data.values[name];
    return packed ? numbers(packed) : null;
  }

  load() {
    return null;
  }

  projections(layer, head) {
    const packed = this.data.projections[`${layer},${head}`];
    if (!packed) return null;
    const [weight, bias] = [numbers(packed.weight), packed.bias && numbers(packed.bias)];
    const part = (at) => ({ weight: { shape: weight.shape.slice(1), at: (i, j) => weight.at(at, i, j) }, bias: bias && bias.below(at) });
    return { query: part(0), key: part(1), value: part(2) };
  }

  entry(id) {
    return rowOf(this.data.dictionary, id);
  }

  output(id) {
    return rowOf(this.data.outputs ?? this.data.dictionary, id);
  }

  near(id) {
    return neighbours(id, this.hparams.n_vocab).filter((other) => this.entry(other));
  }

  show(id) {
    return visible(this.data.texts[id] ?? `#${id}`);
  }

  lens(i) {
    const [ids, shares] = [numbers(this.data.lens.ids), numbers(this.data.lens.shares)];
    return this.data.lens.layers.map((layer, at) => ({
      layer,
      top: [...ids.below(at, i)].map((id, rank) => ({ id, share: shares.at(at, i, rank) })),
    }));
  }

  loop() {
    return { ...this.data.loop, stops: this.data.loop.stops.map(visible) };
  }
}
