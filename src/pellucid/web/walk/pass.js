/* A pass: where the walk's components take their numbers from. Whoever has one offers

     model, hparams, live    whose numbers these are; live: another text can be typed
     text, note              the text, and what was done to it (cut to the window, empty), or ""
     pieces                  [{id, shown}]: its tokens, those that values have rows for
     left                    [{id, shown}]: tokens beyond the window, which nothing is computed of
     first                   the position of pieces[0]; 0 unless the beginning is left out
     words                   [{start, merges: [{rank, pair, parts}] | null}], texts as shown; or null
     get(name)               Numbers of a value (its tap's name, no batch axis) or a weight (its
                             name in weights.py), or null where this pass does not hold it
     projections(layer, head)  {query, key, value: {weight [n_embd, d_k], bias [d_k]}}: what makes
                             the head's q, k and v; or null
     entry(id), near(id)     a row of the dictionary wte, or null; ids around it that have one
     show(id)                a token as it is shown
     lens(i)                 [{layer, top: [{id, share}]}]: after the embeddings and each layer
     loop()                  {steps: [{position, token, share, others, reason}], reason, window,
                             stops}: the greedy generation from here
     load(needs, place)      null where all that a step needs (steps.js) is at hand at this place,
                             or a Promise of that: a served page fetches it before it is drawn

   Rows of a value are those of `pieces`. Two are here: of a machine in the page, and of what
   Python recorded in a file. */

import { tokenText } from "../machine/tokenizer.js";
import { visible } from "../picture/notation.js";
import { Numbers, numbers } from "../picture/numbers.js";
import { likeliest, probabilities } from "../picture/sampling.js";

const AROUND = 3; /* rows of the dictionary above and below */
const LENS = 3;

function top(logits, n) {
  const shares = probabilities(logits, {});
  return likeliest(shares).slice(0, n).map((id) => ({ id, share: shares[id] }));
}

function neighbours(id, n_vocab) {
  const from = Math.max(0, Math.min(id - AROUND, n_vocab - 2 * AROUND - 1));
  return [...Array(Math.min(n_vocab, 2 * AROUND + 1)).keys()].map((i) => from + i);
}

export class LivePass {
  /* ids: instead of the text's own, where a pass begins with special tokens. */
  constructor(machine, text, ids = null) {
    const read = ids ? { ids, all: ids, note: "" } : machine.read(text);
    const { tokenizer } = machine;
    this.machine = machine;
    this.model = machine.name;
    this.hparams = machine.hparams;
    this.live = true;
    this.ids = read.ids;
    this.text = ids ? tokenizer.decode(ids) : text;
    this.note = read.note;
    this.pieces = read.ids.map((id) => ({ id, shown: this.show(id) }));
    this.left = read.all.slice(read.ids.length).map((id) => ({ id, shown: this.show(id) }));
    this.first = 0;
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

export class RecordedPass {
  /* data: as `inspect.recorded` packs it. */
  constructor(data) {
    const seen = (pieces) => pieces.map(({ id, text }) => ({ id, shown: visible(text) }));
    this.data = data;
    this.live = false;
    this.model = data.model;
    this.hparams = data.hparams;
    this.text = data.text;
    this.note = data.note;
    this.pieces = seen(data.pieces);
    this.left = [];
    this.first = data.first;
    this.words = data.words && data.words.map(({ start, merges }) => ({
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
    const [weight, bias] = [numbers(packed.weight), numbers(packed.bias)];
    const part = (at) => ({ weight: { shape: weight.shape.slice(1), at: (i, j) => weight.at(at, i, j) }, bias: bias.below(at) });
    return { query: part(0), key: part(1), value: part(2) };
  }

  entry(id) {
    const at = this.data.dictionary.ids.indexOf(id);
    return at < 0 ? null : numbers(this.data.dictionary.rows).below(at);
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
