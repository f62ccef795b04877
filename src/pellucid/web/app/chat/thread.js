/* The branch that is shown: its messages, each reply token by token. */

import { make } from "../../picture/elements.js";
import { quoted, visible, written } from "../../picture/notation.js";
import { parted } from "./token.js";

const NEAR = "800px";

/* One message. tokens: of a reply, once they are here; else its text stands there, alike. */
class View {
  constructor(message, thread) {
    this.thread = thread;
    this.message = message;
    this.tokens = null;
    this.spans = [];
    this.asked = false;
    this.text = make("div", { className: "text" });
    this.foot = make("div", { className: "message-foot" });
    this.note = make("p", { className: "note", hidden: true });
    this.element = make(
      "article",
      { className: `message ${message.role}`, "data-message": message.id },
      make("h3", { className: "who", textContent: message.role === "user" ? "You" : (message.generated?.model ?? "Reply") }),
      this.text,
      this.note,
      this.foot,
    );
    this.text.append(make("span", { className: "whole", textContent: message.text }));
  }

  /* Tokens of a reply, each to be opened. */
  setTokens(tokens) {
    this.tokens = [];
    this.spans = [];
    this.text.replaceChildren();
    this.text.setAttribute("role", "group");
    this.text.setAttribute("aria-label", "The reply, token by token");
    this.append(tokens);
  }

  append(tokens) {
    const made = tokens.map((token, i) => this.span(token, this.tokens.length + i));
    this.tokens.push(...tokens);
    this.spans.push(...made);
    this.text.append(...made);
  }

  span(token, i) {
    const about = { className: token.text === "" ? "tok ending" : "tok", role: "button", tabIndex: i ? -1 : 0, "data-i": i };
    const span = make("span", about, ...parted(token.text || "▪"));
    const shown = token.text === "" ? decoded(token) : token.text;
    if (!token.text.trim()) span.setAttribute("aria-label", visible(shown));
    const share = token.logprob === null ? null : Math.exp(token.logprob);
    span.title = share === null ? visible(shown) : `${quoted(shown)}, ${written(share, "percent")}`;
    if (share !== null) span.style.setProperty("--surprise", (1 - share).toFixed(3));
    return span;
  }

  /* What a person said, as the tokens that the model had of it; of a reply only where they stand. */
  place(pieces, first) {
    if (!this.tokens) {
      this.spans = pieces.map((text) => make("span", { className: "piece", textContent: text }));
      this.text.replaceChildren(...this.spans);
    }
    this.spans.slice(0, pieces.length).forEach((span, i) => (span.dataset.at = String(first + i)));
  }

  select(i) {
    this.text.querySelector(".tok.open")?.classList.remove("open");
    this.text.querySelector('.tok[tabindex="0"]')?.setAttribute("tabindex", "-1");
    const span = this.spans[i ?? 0];
    span?.setAttribute("tabindex", "0");
    if (i !== null) span?.classList.add("open");
    return i === null ? null : (span ?? null);
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}

export class Thread {
  /* need(message): a promise of its tokens. choose(message, i): a token. foot(message): elements
     below it. */
  constructor({ need, choose, foot }) {
    this.need = need;
    this.choose = choose;
    this.foot = foot;
    this.loaded = (_) => {}; /* a view has its tokens */
    this.views = new Map();
    this.path = [];
    this.element = make("div", { className: "thread", "aria-live": "off" });
    this.near = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && this.load(entry.target)), {
      rootMargin: NEAR,
    });
    this.element.onclick = (event) => {
      const span = event.target.closest(".tok");
      if (span && !String(getSelection())) this.pick(span);
    };
    this.element.onkeydown = (event) => {
      const span = event.target.closest(".tok");
      if (!span || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter" || event.key === " ") this.pick(span);
      else if (!this.step(event.key)) return;
      event.preventDefault();
    };
  }

  clear() {
    this.views.clear();
    this.show([]);
  }

  view(id) {
    return this.views.get(id) ?? null;
  }

  /* messages: of a branch, from its beginning. */
  show(messages) {
    this.path = messages;
    for (const message of messages) {
      if (!this.views.has(message.id)) this.views.set(message.id, new View(message, this));
      const view = this.views.get(message.id);
      view.message = message;
      view.foot.replaceChildren(...this.foot(message));
    }
    this.near.disconnect();
    const elements = messages.map(({ id }) => this.views.get(id).element);
    /* What stays is not taken out: it keeps its place on the screen, and the keyboard. */
    for (const old of [...this.element.children]) if (!elements.includes(old)) old.remove();
    elements.forEach((element, i) => {
      if (this.element.children[i] !== element) this.element.insertBefore(element, this.element.children[i] ?? null);
    });
    for (const { id, role } of messages)
      if (role === "assistant" && !this.views.get(id).tokens) this.near.observe(this.views.get(id).element);
  }

  async load(element) {
    const view = this.view(element.dataset.message);
    if (!view || view.tokens || view.asked) return;
    view.asked = true;
    const tokens = await this.need(view.message).catch(() => null);
    view.asked = false;
    if (tokens && !view.tokens) view.setTokens(tokens);
    this.loaded(view);
  }

  pick(span) {
    const view = this.view(span.closest(".message").dataset.message);
    this.choose(view.message, Number(span.dataset.i));
  }

  /* The token before or after the one that is open, over the ends of replies too. */
  step(key) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!by) return false;
    const all = this.path.filter(({ role }) => role === "assistant").flatMap(({ id }) => this.view(id).spans);
    const focused = /** @type {HTMLElement} */ (document.activeElement).closest?.(".tok");
    const at = all.indexOf(this.element.querySelector(".tok.open") ?? focused);
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
    if (!next) return false;
    this.pick(next);
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  /* → the token's span, or null where it is not here (yet). */
  select(id, i) {
    for (const view of this.views.values()) if (view.message.id !== id) view.select(null);
    return this.view(id)?.select(i) ?? null;
  }

  /* How much each position gave: a line below it, as thick as it is much. gave: position → share
     of the largest, -1 … 1; null takes all of it away. */
  mark(gave) {
    this.gave = gave;
    for (const span of this.element.querySelectorAll("[data-at]")) {
      const share = gave?.[span.dataset.at] ?? 0;
      const thick = Math.abs(share) < 0.04 ? 0 : 1 + Math.round(4 * Math.abs(share));
      span.style.boxShadow = thick ? `0 ${thick}px 0 0 var(${share > 0 ? "--blue" : "--orange"})` : "";
      span.dataset.gave = thick ? share.toFixed(3) : "";
    }
  }

  /* Once more, where more tokens are known by their positions. */
  again() {
    this.mark(this.gave);
  }

  /* Where a head looked: position → weight; null for none. */
  look(weights) {
    this.element.classList.toggle("looked-at", Boolean(weights));
    for (const span of this.element.querySelectorAll("[data-at]")) {
      span.style.setProperty("--look", weights ? Math.sqrt(weights[span.dataset.at] ?? 0).toFixed(3) : "0");
    }
  }
}

/* A token that adds no text: what its bytes say. */
export function decoded(token) {
  return new TextDecoder().decode(Uint8Array.from(token.bytes ?? []));
}
