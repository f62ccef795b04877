/* The glass: what is behind the token that is open. */

import { make } from "../../picture/elements.js";
import { quoted, written } from "../../picture/notation.js";

/* load(): a promise of draw(host, source), fetched once a token is opened. */
const VIEWS = [
  { key: "could", name: "What could have come", load: async () => (await import("./could.js")).could },
  { key: "why", name: "Why this one", load: async () => (await import("./why.js")).why },
  { key: "knew", name: "When it knew", load: async () => (await import("./knew.js")).knew },
];

/* change: the module that changes values, where it is there. */
export class Glass {
  constructor({ go, change = null }) {
    this.go = go;
    this.views = change ? [...VIEWS, { key: "change", name: "Change it", load: () => changing(change) }] : VIEWS;
    this.element = make("aside", { className: "glass", "aria-label": "Behind the token" });
    this.seen = null;
    this.empty();
  }

  /* → a promise that its views are here. */
  fetch() {
    return Promise.all(VIEWS.map(({ load }) => load()));
  }

  empty() {
    this.abandon();
    this.seen = null;
    this.element.classList.remove("open");
    this.element.replaceChildren(
      make("p", {
        className: "quiet hint",
        textContent: "Open any word of a reply: click it, or reach it with the arrow keys. Here stands what was behind it.",
      }),
    );
  }

  abandon() {
    this.controller?.abort();
    this.controller = null;
  }

  /* token: {id, text, logprob, alternatives}. number, of: where it stands. view: a key of VIEWS.
     door: the address of the walk at this step. source: what the views ask (see each). */
  show({ key, token, number, of, view, door, source }) {
    const chosen = this.views.find((each) => each.key === view) ?? this.views[0];
    const now = `${key} ${chosen.key}`;
    if (this.seen === now) {
      this.element.querySelector(".glass-place").firstChild.textContent = `token ${number + 1} of ${of}`;
      return;
    }
    const moved = this.seen?.split(" ")[0] !== key;
    this.seen = now;
    this.abandon();
    this.controller = new AbortController();
    const share = token.logprob === null || token.logprob === undefined ? "" : written(Math.exp(token.logprob), "percent");
    const tabs = this.views.map(({ key, name }) =>
      make("button", {
        type: "button",
        role: "tab",
        id: `tab-${key}`,
        className: "option",
        textContent: name,
        "aria-selected": String(key === chosen.key),
        "aria-controls": "glass-view",
        tabIndex: key === chosen.key ? 0 : -1,
        onclick: () => this.go({ view: key }, { replace: true }),
      }),
    );
    const list = make("div", { className: "tabs", role: "tablist", "aria-label": "Questions" }, ...tabs);
    list.onkeydown = (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      const at = this.views.findIndex((each) => each.key === chosen.key);
      this.go({ view: this.views[(at + by + this.views.length) % this.views.length].key }, { replace: true });
      /** @type {HTMLElement} */ (document.querySelector('.tabs [aria-selected="true"]'))?.focus();
    };
    const body = make("div", {
      id: "glass-view",
      className: "glass-view",
      role: "tabpanel",
      "aria-labelledby": `tab-${chosen.key}`,
      tabIndex: 0,
    });
    this.element.classList.add("open");
    this.element.replaceChildren(
      make(
        "div",
        { className: "glass-head" },
        make("h2", { className: "glass-token", textContent: quoted(token.shown ?? token.text) }),
        make("span", { className: "quiet glass-place" }, `token ${number + 1} of ${of}`, share && ` · ${share}`),
        make("button", {
          type: "button",
          className: "plain close",
          textContent: "×",
          "aria-label": "Close the glass",
          onclick: () => this.go({ token: null, message: null, view: null }),
        }),
      ),
      list,
      body,
      make("a", { className: "door", href: door, textContent: "Walk this step →" }),
    );
    if (moved) this.element.scrollTop = 0;
    source.mark(null);
    source.look(null);
    const { signal } = this.controller;
    chosen.load().then(
      (draw) => signal.aborted || draw(body, { ...source, token, signal }),
      () => (body.textContent = "The server does not answer."),
    );
  }
}

async function changing(load) {
  const { waiting } = await import("./waiting.js");
  return (host, source) =>
    waiting(host, "", async () => {
      const { mount } = await load();
      const inner = make("div", {});
      const mounted = await mount(inner, source.place);
      source.signal.addEventListener("abort", () => mounted?.close?.(), { once: true });
      return inner;
    });
}
