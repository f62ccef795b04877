/* The conversations that are kept: newest first, searched, renamed, deleted. */

import { make } from "../../picture/elements.js";
import { onOneLine } from "../../picture/notation.js";
import { ask } from "../dialogs.js";

const PATIENCE = 200; /* ms after a key */

export class List {
  /* open(id, found), begin(), gone(id): what happened. about: where they are kept, if that is not as usual. */
  constructor({ api, open, begin, gone, renamed, about }) {
    this.api = api;
    this.open = open;
    this.begin = begin;
    this.gone = gone;
    this.renamed = renamed;
    this.chosen = null;
    this.next = null;
    this.search = make("input", { type: "search", placeholder: "Search", "aria-label": "Search what was said" });
    this.search.oninput = () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), PATIENCE);
    };
    this.items = make("ul", { className: "conversations" });
    this.more = make("button", {
      type: "button",
      className: "plain more",
      textContent: "More",
      hidden: true,
      onclick: () => this.load(this.next),
    });
    this.note = make("p", { className: "quiet", hidden: true });
    this.element = make(
      "div",
      { className: "list" },
      make("button", { type: "button", className: "new", textContent: "New conversation", onclick: () => this.begin() }),
      this.search,
      about ? make("p", { className: "quiet unkept", textContent: about }) : null,
      this.note,
      this.items,
      this.more,
    );
    this.heads = [];
  }

  async load(before = null) {
    const query = new URLSearchParams({ limit: "50" });
    if (before) query.set("before", before);
    const search = this.search.value.trim();
    if (search) query.set("search", search);
    try {
      const page = await this.api.get(`v1/conversations?${query}`);
      if (search !== this.search.value.trim()) return;
      this.heads = before ? [...this.heads, ...page.data] : page.data;
      this.next = page.next;
      this.say(this.heads.length ? "" : search ? "Nothing was found." : "Nothing was said yet.");
    } catch (error) {
      if (error.status) this.say(error.message);
    }
    this.draw();
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  choose(id) {
    this.chosen = id;
    for (const item of this.items.children) {
      const here = item.getAttribute("data-id") === id;
      if (here) item.firstChild.setAttribute("aria-current", "true");
      else item.firstChild.removeAttribute("aria-current");
    }
  }

  draw() {
    this.items.replaceChildren(...this.heads.map((head) => this.item(head)));
    this.more.hidden = !this.next;
    this.choose(this.chosen);
  }

  item(head) {
    const title = onOneLine(head.title) || "Nothing said yet";
    const found = head.found?.[0];
    const small = (text, label, onclick) =>
      make("button", { type: "button", className: "plain", textContent: text, "aria-label": `${label}: ${title}`, title: label, onclick });
    return make(
      "li",
      { "data-id": head.id },
      make(
        "button",
        { type: "button", className: "conversation", onclick: () => this.open(head.id, found?.id ?? null) },
        make("span", { className: "title", textContent: title }),
        found ? make("small", { textContent: onOneLine(found.text).slice(0, 80) }) : null,
        head.goes_on ? null : make("small", { textContent: `${onOneLine(head.model)}: to be read only` }),
      ),
      make(
        "span",
        { className: "item-actions" },
        small("✎", "Rename", () => this.rename(head)),
        small("×", "Delete", () => this.remove(head)),
      ),
    );
  }

  async rename(head) {
    const answer = await ask("Rename", [{ name: "title", label: "Title", value: head.title }], "Rename");
    if (!answer) return;
    await this.attempt(async () => {
      this.renamed(await this.api.patch(`v1/conversations/${head.id}`, { title: answer.title.slice(0, 200) }));
    });
  }

  async remove(head) {
    const note = "It goes with all its branches, and cannot be brought back.";
    const answer = await ask(`Delete “${onOneLine(head.title).slice(0, 60)}”?`, [], "Delete", { note, grave: true });
    if (!answer) return;
    await this.attempt(async () => {
      await this.api.delete(`v1/conversations/${head.id}`);
      this.gone(head.id);
    });
  }

  async attempt(action) {
    try {
      await action();
    } catch (error) {
      this.say(error.message);
    }
    await this.load();
  }
}
