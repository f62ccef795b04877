/* The moments of a training and what each makes of a text. Two kinds are here: the model of each
   moment runs in the page, or Python told what it found. history/page.py writes what they read. */

import { Machine } from "../machine/machine.js";
import { visible } from "../picture/notation.js";
import { numbers } from "../picture/numbers.js";
import { likeliest, probabilities } from "../picture/sampling.js";

const LISTED = 6; /* tokens that may come next: the likeliest at the end */

/**
 * @typedef {{ shape: number[], at: (query: number, key: number) => number }} Pattern
 * @typedef {{ id: number, shown: string, share: number }} Likely
 *
 * @typedef {object} Moments
 * @property {string} text
 * @property {number[]} ids of the text
 * @property {string[]} tokens the same, as they are shown
 * @property {string} note what was done to the text, or ""
 * @property {number} count
 * @property {number[][]} heads those whose patterns are here: layer, head
 * @property {(moment: number, layer: number, head: number) => Pattern} pattern
 * @property {(moment: number) => Likely[]} next the likeliest of the end with their probabilities then
 * @property {(moment: number) => Likely} first the likeliest then
 * @property {(moment: number) => number | null} textLoss the mean of -log p of its own tokens, in nats
 */

/* The machine of every moment, made once. */
const made = new WeakMap();

function machinesOf(data) {
  if (!made.has(data))
    made.set(
      data,
      data.weights.map((weights) => new Machine(data.machine, weights)),
    );
  return made.get(data);
}

/** @implements {Moments} */
export class LiveMoments {
  /* ids: instead of the text's own, where they are others. */
  constructor(data, text, ids = null) {
    const machines = machinesOf(data);
    const read = ids ? { ids, note: "" } : machines[0].read(text);
    this.machine = machines[0];
    this.text = text;
    this.note = read.note;
    this.ids = read.ids;
    this.tokens = read.ids.map((id) => this.show(id));
    this.count = machines.length;
    this.passes = machines.map((machine) => machine.forward(read.ids));
    this.shares = this.passes.map((values) => {
      const logits = values.get("logits");
      return read.ids.map((_, i) => probabilities(logits.below(i), {}));
    });
    const { n_layer, n_head } = data.hparams;
    this.heads = [...Array(n_layer * n_head).keys()].map((i) => [Math.floor(i / n_head), i % n_head]);
    this.listed = likeliest(this.last(this.count - 1)).slice(0, LISTED);
  }

  show(id) {
    return visible(this.machine.tokenizer.text(id));
  }

  last(moment) {
    return this.shares[moment].at(-1);
  }

  pattern(moment, layer, head) {
    const all = this.passes[moment].get(`blocks.${layer}.attn.pattern`);
    return { shape: all.shape.slice(1), at: (query, key) => all.at(head, query, key) };
  }

  likely(moment, id) {
    return { id, shown: this.show(id), share: this.last(moment)[id] };
  }

  next(moment) {
    return this.listed.map((id) => this.likely(moment, id));
  }

  first(moment) {
    return this.likely(moment, likeliest(this.last(moment))[0]);
  }

  textLoss(moment) {
    const own = this.ids.slice(1).map((id, i) => -Math.log(this.shares[moment][i][id]));
    return own.length ? own.reduce((sum, loss) => sum + loss, 0) / own.length : null;
  }
}

/** @implements {Moments} */
export class ToldMoments {
  constructor(data) {
    this.told = data.told;
    this.text = data.text;
    this.note = "";
    this.ids = data.ids;
    this.tokens = data.tokens.map(visible);
    this.count = data.steps.length;
    this.heads = data.told.heads;
  }

  pattern(moment, layer, head) {
    const all = numbers(this.told.pattern);
    const place = this.heads.findIndex((each) => each[0] === layer && each[1] === head);
    return { shape: all.shape.slice(2), at: (query, key) => all.at(moment, place, query, key) };
  }

  likely(moment, place) {
    const { ids, texts, shares } = this.told.next;
    return { id: ids[place], shown: visible(texts[place]), share: numbers(shares).at(moment, place) };
  }

  next(moment) {
    return this.told.next.ids.slice(0, LISTED).map((_, place) => this.likely(moment, place));
  }

  first(moment) {
    return this.likely(moment, this.told.next.first[moment]);
  }

  textLoss(moment) {
    return this.told.text_losses[moment];
  }
}

/* The moment from which on the last one's token was the likeliest. */
export function foundAt(moments) {
  const last = moments.count - 1;
  let at = last;
  while (at > 0 && moments.first(at - 1).id === moments.first(last).id) at -= 1;
  return at;
}

/* The key that a query gives most to. */
export function mostAt(pattern, query) {
  let best = 0;
  for (let key = 1; key <= query; key++) if (pattern.at(query, key) > pattern.at(query, best)) best = key;
  return best;
}
