/* A whole small GPT in the page: tokenizer, model and the greedy loop. `inspect.machine` packs what
   it is made of; tests hold every value and every token to Python's. */

import { likeliest, probabilities } from "../picture/sampling.js";
import { Model } from "./model.js";
import { Tokenizer } from "./tokenizer.js";

export class Machine {
  /* data: as `inspect.machine` gives it. weights: others of the same shapes, such as a snapshot of
     the training. */
  constructor(data, weights = data.weights) {
    this.name = data.name;
    this.hparams = data.hparams;
    this.anatomy = data.anatomy;
    this.tokenizer = new Tokenizer(data.tokenizer);
    this.model = new Model({ hparams: data.hparams, weights });
    this.stops = new Set(data.stops);
    this.unused = data.unused;
  }

  /* Text → {ids, note}: the ids that a pass is made of, and what was done to a text that the model
     cannot take as it is. all: its ids, those beyond the window too. */
  read(text) {
    const all = this.tokenizer.encode(text);
    const { n_ctx } = this.hparams;
    if (!all.length) {
      const begin = this.tokenizer.endOfText;
      if (begin === null) return { ids: [], all, note: "The text is empty: give at least one token to go on from." };
      return { ids: [begin], all, note: `The text is empty: it begins with ${this.tokenizer.text(begin)}, as GPT-2's documents do.` };
    }
    if (all.length <= n_ctx) return { ids: all, all, note: "" };
    const more = all.length - n_ctx;
    const note = `The text has ${all.length} tokens, the context window holds ${n_ctx}: below are the first ${n_ctx}. Shorten the text by ${more} token${more > 1 ? "s" : ""} or more.`;
    return { ids: all.slice(0, n_ctx), all, note };
  }

  forward(ids) {
    return this.model.forward(ids);
  }

  /* The greedy loop: [{position, token, logprob, alternatives, reason}] until the window is full or
     a stop token comes. */
  greedy(ids, alternatives = 5) {
    const tokens = [...ids];
    const steps = [];
    const window = this.hparams.n_ctx;
    let reason = tokens.length >= window ? "context window full" : null;
    while (!reason) {
      const logits = Float64Array.from(
        this.forward(tokens)
          .get("logits")
          .below(tokens.length - 1),
      );
      const shares = probabilities(logits, {});
      for (const id of this.unused) logits[id] = -Infinity;
      const order = likeliest(shares);
      const token = likeliest(logits)[0];
      if (this.stops.has(token)) reason = "stop token";
      else if (tokens.length + 1 >= window) reason = "context window full";
      const listed = order.slice(0, alternatives).map((id) => ({ token: id, logprob: Math.log(shares[id]) }));
      steps.push({ position: tokens.length, token, logprob: Math.log(shares[token]), alternatives: listed, reason });
      tokens.push(token);
    }
    return { steps, reason, window };
  }
}
