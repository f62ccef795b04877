/* A text goes on twice, streamed side by side: as the model is, and with changes. */

import { queued } from "../app/api.js";
import { compare } from "../picture/compare.js";
import { make } from "../picture/elements.js";
import { picture } from "../picture/picture.js";
import { PLAIN } from "../picture/sampling.js";

const MEET = 8; /* as inspect.compare: so many tokens the same again, and they have met */
const MET = "they have met";
const ENDS = { stop: "ends here", length: "goes on" };

export class Sides {
  /* api: of the app. tell(text): what stands in the way, or "". */
  constructor(api, tell) {
    this.api = api;
    this.tell = tell;
    this.columns = make("div", { className: "sides", "aria-live": "off" });
    this.more = make("div", { className: "sides-more" });
    this.element = make("div", {}, this.columns, this.more);
    this.known = { key: "", side: null };
    this.stopping = null;
  }

  /* ask: { ids, changes, temperature, seed, length }. */
  async run(ask) {
    this.stopping?.abort();
    const stopping = (this.stopping = new AbortController());
    const { signal } = stopping;
    this.tell("");
    this.element.dataset.state = "running";
    this.columns.setAttribute("aria-busy", "true");
    try {
      const both = await this.stream(ask, signal);
      if (signal.aborted) return;
      this.draw(ask, both[0], both[1]);
      await this.finish(ask, signal);
      this.element.dataset.state = "done";
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      this.tell(error.message);
      this.element.dataset.state = "failed";
    } finally {
      if (stopping === this.stopping) this.columns.removeAttribute("aria-busy");
    }
  }

  async stream(ask, signal) {
    const key = JSON.stringify([ask.ids, ask.temperature, ask.seed, ask.length]);
    const again = this.known.key === key;
    const before = again ? copy(this.known.side) : side();
    const after = ask.changes.length ? side() : before;
    const reading = new AbortController();
    signal.addEventListener("abort", () => reading.abort(), { once: true });
    let drawing = 0;
    const onstep = () => {
      if (met(before, after)) reading.abort();
      drawing ||= requestAnimationFrame(() => {
        drawing = 0;
        if (!signal.aborted) this.draw(ask, before, after);
      });
    };
    const runs = [again ? null : this.generate(ask, [], before, reading.signal, onstep)];
    if (after !== before) runs.push(this.generate(ask, ask.changes, after, reading.signal, onstep));
    await Promise.all(runs.map((run) => run?.catch((error) => met(before, after) || Promise.reject(error))));
    cancelAnimationFrame(drawing);
    if (before.end && before.end !== MET) this.known = { key, side: copy(before) };
    return [before, after];
  }

  async generate({ ids, temperature, seed, length }, changes, into, signal, onstep) {
    const body = { ...PLAIN, prompt: ids, max_tokens: length, temperature, seed, logprobs: 0, stream: true };
    const asked = changes.length ? { ...body, pellucid: { interventions: changes } } : body;
    let waited = false;
    for await (const { waits, choices } of this.api.stream("POST", "v1/completions", asked, signal)) {
      const waiting = waits !== undefined;
      if (waiting || waited) this.tell(waiting ? queued(waits) : "");
      waited = waiting;
      if (waiting) continue;
      for (const { logprobs, finish_reason } of choices) {
        for (const [i, text] of (logprobs?.tokens ?? []).entries()) {
          into.tokens.push(bytes(text));
          into.shares.push(Math.exp(logprobs.token_logprobs[i]));
        }
        if (finish_reason) into.end = ENDS[finish_reason];
      }
      onstep();
    }
  }

  draw(ask, before, after) {
    /* Copies of the shares: what was unpacked once is not looked at again. */
    const spec = {
      names: ["as it is", "changed"],
      before: before.tokens,
      after: after.tokens,
      shares_before: [...before.shares],
      shares_after: [...after.shares],
      first: ask.ids.length,
      ends: [before.end, after.end],
    };
    this.columns.replaceChildren(...compare(spec).filter(Boolean));
  }

  /* What Python says of the two: the same columns, with the tokens that ended them, where they part
     and which heads look elsewhere. */
  async finish({ ids, changes, temperature, seed, length }, signal) {
    if (!changes.length) {
      this.more.replaceChildren(make("p", { className: "caption", textContent: "Nothing is changed yet: switch a head off, or a token." }));
      return;
    }
    const body = { text: ids, interventions: changes, temperature, seed, max_tokens: length };
    const { sections } = await this.api.ask("compare", body, { signal, tell: this.tell, as: "pictures" });
    if (signal.aborted) return;
    const [columns, ...rest] = sections[0].pictures;
    this.columns.replaceChildren(...compare(columns).filter(Boolean));
    this.more.replaceChildren(...rest.map(picture));
  }

  close() {
    this.stopping?.abort();
  }
}

function side() {
  return { tokens: [], shares: [], end: "" };
}

function copy({ tokens, shares, end }) {
  return { tokens: [...tokens], shares: [...shares], end };
}

/* A token that is no text by itself, as everywhere else: ⟨F0 9F⟩. */
function bytes(text) {
  if (!/^bytes:(\\x[0-9a-f]{2})+$/.test(text)) return text;
  return `⟨${text.slice(8).toUpperCase().split("\\X").join("\u00a0")}⟩`;
}

/* Whether they have met; then both end there. */
export function met(before, after) {
  const n = Math.min(before.tokens.length, after.tokens.length);
  const same = (i) => before.tokens[i] === after.tokens[i];
  let last = -1;
  for (let i = 0; i < n; i++) if (!same(i)) last = i;
  if (last < 0 || n - 1 - last < MEET) return false;
  for (const each of [before, after]) {
    each.tokens.length = each.shares.length = last + 1 + MEET;
    each.end = MET;
  }
  return true;
}
