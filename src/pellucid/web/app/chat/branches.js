/* A conversation as a tree of messages: which branch is shown, and the tree as it is walked. */

import { make } from "../../picture/elements.js";
import { onOneLine } from "../../picture/notation.js";

const SHORT = 40;

export class Branches {
  /* messages: as the server has them, parents first. */
  constructor(messages = []) {
    this.messages = new Map();
    for (const message of messages) this.add(message);
  }

  /* A message, or more of one that is here: it stays the same object, for whoever shows it. */
  add(message) {
    const known = this.messages.get(message.id) ?? {};
    this.messages.set(message.id, Object.assign(known, message));
    return known;
  }

  get(id) {
    return this.messages.get(id) ?? null;
  }

  children(id) {
    return [...this.messages.values()].filter((each) => each.parent === id);
  }

  siblings(message) {
    return this.children(message.parent).filter((each) => each.role === message.role);
  }

  /* From the beginning to this message. */
  path(id) {
    const out = [];
    for (let at = this.get(id); at; at = this.get(at.parent)) out.unshift(at);
    return out;
  }

  /* The newest end of a branch through this message. */
  end(id) {
    let at = id;
    for (let below = this.children(at); below.length; below = this.children(at)) at = below.at(-1).id;
    return at;
  }

  get newest() {
    return [...this.messages.keys()].at(-1) ?? null;
  }
}

/* What a message is called in one line; of a reply that leaves another, the part that differs. */
export function called(message, branches) {
  const source = message.source && branches.get(message.source);
  let text = message.text;
  if (source && message.role === "assistant" && message.step) {
    let same = 0;
    while (same < text.length && text[same] === source.text[same]) same += 1;
    const word = text.lastIndexOf(" ", same - 1);
    if (same > 0) text = `…${text.slice(word < 0 ? same : word)}`;
  }
  const line = onOneLine(text.trim()) || "∅";
  return line.length > SHORT ? `${line.slice(0, SHORT - 1)}…` : line;
}

/* The whole tree as a list; where it goes two ways, each is set in. choose(message) */
export function drawBranches(branches, leaf, choose) {
  const shown = new Set(branches.path(leaf).map(({ id }) => id));
  const list = make("ul", { className: "branches" });
  const walk = (parent, depth) => {
    const below = branches.children(parent);
    const deeper = below.length > 1 ? depth + 1 : depth;
    for (const message of below) {
      const button = make("button", {
        type: "button",
        className: `branch ${message.role}`,
        textContent: called(message, branches),
        "aria-current": message.id === leaf ? "true" : null,
        "data-message": message.id,
        onclick: () => choose(message),
      });
      if (shown.has(message.id)) button.classList.add("shown");
      button.style.setProperty("--depth", String(Math.min(deeper, 8)));
      list.append(make("li", {}, button));
      walk(message.id, deeper);
    }
  };
  walk(null, 0);
  list.onkeydown = (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || !buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
  };
  return list;
}
