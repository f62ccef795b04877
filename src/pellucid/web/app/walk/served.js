/* The third pass: of the model that the server has, asked layer by layer. */

import { RecordedPass } from "../../walk/pass.js";

export class ServedPass extends RecordedPass {
  /* question: { reply } or { text }. → a promise; place: {layer, head} that it begins with, and end,
     the last position of its rows, where there are more than it has room for. tell(text): how many
     come before it, here and later. */
  static async of(api, question, { layer = 0, head = 0, end = null } = {}, { signal = null, tell = (_) => {} } = {}) {
    const data = await api.ask("pass", { ...question, layer, head, ...(end === null ? {} : { position: end }) }, { signal, tell });
    return new ServedPass(api, question, data, tell);
  }

  constructor(api, question, data, tell) {
    super(data);
    this.api = api;
    this.tell = tell;
    this.question = question;
    this.total = data.positions;
    this.layers = new Map([[data.layer, null]]);
    /* What the steps say of this model. */
    this.told = { said: data.said, looks: data.looks, sizes: data.sizes };
  }

  /* What lies within a layer comes with all of it: once. */
  load(needs, { layer, head }) {
    if (!needs.some((name) => name === "projections" || name.startsWith(`blocks.${layer}.`))) return null;
    if (this.layers.get(layer) === null) return null;
    if (!this.layers.has(layer)) {
      const asked = { ...this.question, layer, head, position: this.data.position };
      const coming = this.api.ask("pass", asked, { tell: this.tell }).then(
        (data) => {
          Object.assign(this.data.values, data.values);
          Object.assign(this.data.projections, data.projections);
          this.layers.set(layer, null);
        },
        (error) => {
          this.layers.delete(layer);
          throw error;
        },
      );
      this.layers.set(layer, coming);
    }
    return this.layers.get(layer);
  }
}
