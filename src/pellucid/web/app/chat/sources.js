/* What the glass asks about a token: of a reply that is kept, the server; of the live sentence, the
   model in the page. */

import { numbers } from "../../picture/numbers.js";
import { likeliest } from "../../picture/sampling.js";
import { align, textsOf } from "./align.js";
import { passBefore } from "./prepared.js";
import { decoded } from "./thread.js";

const LISTED = 50;

/* How the server is asked about a token of a reply: by its place, where it keeps it; else by the very
   ids that stood before it. */
export function placeOf(reply, tokens, number) {
  if (!reply.unkept) return { reply: { conversation: reply.conversation, message: reply.id, token: number } };
  return { text: [...reply.generated.prompt, ...tokens.slice(0, number).map(({ id }) => id)] };
}

export class Sources {
  constructor(api) {
    this.api = api;
    this.clear();
  }

  clear() {
    this.known = new Map();
    this.placed = null;
  }

  /* reply: a message. number: of its token. path: from the beginning to it. */
  of({ reply, number, tokens, path, thread, pick }) {
    const { api } = this;
    const own = tokens[number];
    const token = { ...own, shown: own.text || decoded(own) };
    const place = () => placeOf(reply, tokens, number);
    const watched = () => ({ ...place(), ...(reply.unkept ? { target: own.id } : {}) });
    const rival = own.alternatives?.find(({ id }) => id !== own.id);
    const once = (kind, ask) => this.once(`${reply.id}/${number}/${kind}`, ask);
    this.place(reply, tokens, path, thread);
    return {
      token,
      settings: reply.generated?.settings ?? {},
      pick,
      logits: (signal, tell) =>
        once("logits", async () => {
          const { sections } = await api.ask("prediction", { ...place(), k: LISTED }, { signal, tell, as: "pictures" });
          const spec = sections[0].pictures[0];
          if (!spec.ids.includes(own.id)) Object.assign(spec, { ids: [...spec.ids, own.id], texts: [...spec.texts, token.shown] });
          return spec;
        }),
      attribute: (signal, tell) =>
        once("attribute", () => api.ask("attribute", { ...watched(), ...(rival ? { versus: rival.id } : {}) }, { signal, tell })),
      pattern: (layer, signal, tell) =>
        once(`pattern ${layer}`, async () => {
          const trace = await api.ask("trace", { ...place(), names: "attn.pattern", layers: layer, positions: -1 }, { signal, tell });
          const page = await api.get(`v1/inspect/traces/${trace.id}/values?name=blocks.${layer}.attn.pattern`, signal);
          api.delete(`v1/inspect/traces/${trace.id}`).catch(() => {});
          return page.values.map((head) => head[0]);
        }),
      lens: (signal, tell) =>
        once("lens", async () => {
          const found = await api.ask("lens", { ...watched(), positions: -1, k: 5 }, { signal, tell });
          return found.layers.map((layer, i) => ({
            layer,
            top: found.top_tokens[i][0].map((text, j) => ({ text, share: Math.exp(found.top_logprobs[i][0][j]) })),
            own: Math.exp(found.target_logprobs[i][0]),
          }));
        }),
      explain: (signal, tell, onprogress) => {
        const said = { continuation: tokens.slice(0, number + 1).map(({ id }) => id), token: number + 1 };
        const asked = reply.unkept ? { text: reply.generated.prompt, ...said } : place();
        return once("why", () => api.ask("why", { ...asked, labels: false }, { signal, tell, onprogress }));
      },
      mark: (gave) => thread.mark(gave),
      look: (weights) => thread.look(weights),
    };
  }

  /* An answer is asked once; one that was given up or failed, again. */
  once(key, ask) {
    if (!this.known.has(key)) {
      const answer = ask();
      this.known.set(key, answer);
      answer.catch(() => this.known.delete(key));
    }
    return this.known.get(key);
  }

  /* Where the tokens on the screen stand in the ids that the reply was generated from. */
  async place(reply, tokens, path, thread) {
    const numbered = (first) => thread.view(reply.id)?.spans.forEach((span, i) => (span.dataset.at ??= String(first + i)));
    if (this.placed?.reply === reply.id) {
      if (this.placed.first) numbered(this.placed.first);
      return;
    }
    const placed = (this.placed = { reply: reply.id, first: 0 });
    try {
      const { tokens: pieces } = await this.once(`${reply.id}/pieces`, () => this.api.post("v1/inspect/tokens", placeOf(reply, tokens, 0)));
      if (this.placed !== placed) return;
      for (const span of thread.element.querySelectorAll("[data-at]")) delete span.dataset.at;
      const before = path.slice(0, -1);
      const texts = textsOf(pieces);
      align(
        pieces,
        before.map(({ text }) => text),
      ).forEach((range, i) => {
        if (range) thread.view(before[i].id)?.place(texts.slice(...range), range[0]);
      });
      numbered((placed.first = pieces.length));
      thread.again();
    } catch {
      if (this.placed === placed) this.placed = null;
    }
  }
}

/* The same of the live sentence; pick(id): take another token there. */
export function liveSource(sentence, number, pick) {
  const step = sentence.steps[number];
  const text = sentence.text(step.token);
  const pass = passBefore(sentence, number);
  const last = pass.pieces.length - 1;
  return {
    token: { id: step.token, text, shown: text, logprob: step.logprob },
    settings: { temperature: 1 },
    pick,
    logits: async () => {
      const flat = Float64Array.from(pass.get("logits").below(last));
      const ids = likeliest(flat);
      return { logits: numbers([...flat]), ids, texts: ids.map((id) => sentence.text(id)) };
    },
    attribute: null,
    lens: async () =>
      pass.lens(last).map(({ layer, top }) => ({
        layer,
        top: top.map(({ id, share }) => ({ text: sentence.text(id), share })),
        own: top.find(({ id }) => id === step.token)?.share ?? null,
      })),
    mark: () => {},
    look: () => {},
  };
}
