/* The chat: conversations and their branches, the sentence, and the glass beside it. */

import { make } from "../../picture/elements.js";
import { onOneLine } from "../../picture/notation.js";
import { Glass } from "../glass/glass.js";
import { Branches, drawBranches } from "./branches.js";
import { Composer, askSettings, examples } from "./composer.js";
import { List } from "./list.js";
import { drawSentence, liveSentence, walkBelow } from "./prepared.js";
import { Sources, liveSource, placeOf } from "./sources.js";
import { Thread } from "./thread.js";
import { Writer } from "./writer.js";

/* What is not met at once comes when there is nothing else to do: so it is here when the server goes. */
const whenIdle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 500));

async function fetchSteps() {
  return (await import("../walk/lazy.js")).bringAll();
}

/* A module that may not be there. */
const optional = (path) => import(path);

export async function mount(host, context) {
  const { api, info } = context;
  if (info.content.store === false) info.unkept ??= new (await import("./unkept.js")).Unkept(api);
  const chat = new Chat(host, { ...context, api: info.unkept ?? api });
  chat.list.load();
  chat.update(context.selection);
  return chat;
}

class Chat {
  constructor(host, { api, info, go, selection }) {
    this.api = api;
    this.info = info;
    this.go = go;
    this.selection = selection;
    this.head = null;
    this.branches = new Branches();
    this.leaf = null;
    this.draft = { system: null, settings: {} };
    this.sources = new Sources(api);
    this.list = new List({
      api,
      open: (id, message) => go({ conversation: id, message, token: null }, { fresh: true }),
      begin: () => go({}, { fresh: true }),
      gone: (id) => id === this.head?.id && go({}, { fresh: true }),
      renamed: (head) => head.id === this.head?.id && this.entitle(head),
      about: info.unkept
        ? "This server keeps nothing (--no-store): what you say stays in this page, until it is closed or loaded anew."
        : "",
    });
    this.tree = make("div", { className: "tree" });
    this.title = make("h1", { className: "chat-title", textContent: "" });
    this.shade = make("button", { type: "button", className: "option", textContent: "Probabilities", "aria-pressed": "false" });
    this.shade.onclick = () => this.shaded(this.shade.getAttribute("aria-pressed") !== "true");
    this.thread = new Thread({
      need: (message) => this.tokensOf(message),
      choose: (message, token) => go({ conversation: this.head.id, leaf: this.leaf, message: message.id, token }),
      foot: (message) => this.foot(message),
    });
    this.thread.loaded = (view) => view.message.id === this.selection.message && this.open();
    this.composer = new Composer({
      say: (text) => this.say(text),
      stop: () => this.writer.stop(),
      settings: () => this.change(),
    });
    this.writer = new Writer(this);
    const change = info.places.includes("change/change.js") ? () => optional("../../change/change.js") : null;
    this.glass = new Glass({ go, change });
    this.home = make("div", { className: "home" });
    this.side = make(
      "div",
      { className: "side", id: "side", role: "complementary", "aria-label": "Conversations" },
      this.list.element,
      this.tree,
    );
    const fold = make("button", {
      type: "button",
      className: "plain fold",
      textContent: "☰",
      "aria-label": "Conversations",
      "aria-expanded": "false",
      "aria-controls": "side",
    });
    fold.onclick = () => fold.setAttribute("aria-expanded", String(this.frame.classList.toggle("unfolded")));
    this.fold = fold;
    this.comparing = make("div", {});
    this.middle = make(
      "div",
      { className: "middle" },
      make("div", { className: "chat-head" }, fold, this.title, this.shade),
      this.home,
      this.comparing,
      this.thread.element,
      this.composer.element,
    );
    this.frame = make("div", { className: "chat-frame" }, this.side, this.middle, this.glass.element);
    this.below = make("div", { className: "below" });
    host.replaceChildren(this.frame, this.below);
  }

  close() {
    this.writer.stop();
    this.loading?.abort();
    this.glass.abandon();
    this.walk?.close();
  }

  /* What the address says is on the screen. */
  async update(selection) {
    this.selection = selection;
    const id = selection.conversation ?? null;
    this.list.choose(id);
    if (id !== (this.head?.id ?? null)) {
      this.frame.classList.remove("unfolded");
      this.fold.setAttribute("aria-expanded", "false");
      if (!(await this.load(id))) return;
    }
    if (!this.head) {
      this.drawHome();
      return;
    }
    const { leaf, message } = selection;
    const through = this.branches.get(leaf) ?? this.branches.get(message);
    const end = through
      ? this.branches.end(through.id)
      : (this.branches.get(this.leaf)?.id ?? this.branches.get(this.head.leaf)?.id ?? this.branches.newest);
    this.show(this.branches.get(leaf) ? leaf : end);
    this.drawCompare();
    this.open();
  }

  /* Another conversation, or none. → whether it is still the one that is wanted. */
  async load(id) {
    this.loading?.abort();
    this.loading = new AbortController();
    this.writer.stop();
    this.head = null;
    this.leaf = null;
    this.branches = new Branches();
    this.sources.clear();
    this.thread.clear();
    this.glass.empty();
    this.tree.replaceChildren();
    this.composer.tell("");
    if (!id) return true;
    const { signal } = this.loading;
    this.closeHome();
    try {
      let after = "";
      do {
        const page = await this.api.get(`v1/conversations/${encodeURIComponent(id)}?limit=1000${after}`, signal);
        for (const message of page.messages) this.branches.add(message);
        this.head = page;
        after = page.next ? `&after=${page.next}` : "";
      } while (after);
    } catch (error) {
      if (error.name === "AbortError") return false;
      this.head = null;
      this.title.textContent = "";
      this.composer.tell(error.message);
      return false;
    }
    this.entitle(this.head);
    return !signal.aborted;
  }

  entitle(head) {
    Object.assign(this.head, head);
    this.title.textContent = onOneLine(head.title);
    document.title = head.title ? `${onOneLine(head.title)} · Pellucid` : "Pellucid";
    if (!head.goes_on) this.composer.tell(`It was held with the model “${onOneLine(head.model)}”: it can be read, and a new one begun.`);
  }

  show(leaf) {
    this.leaf = leaf;
    this.thread.show(this.branches.path(leaf));
    this.drawTree();
  }

  drawTree() {
    const many = this.branches.messages.size > 0;
    this.tree.replaceChildren(
      ...(many ? [make("h2", { textContent: "Branches" }), drawBranches(this.branches, this.leaf, (message) => this.take(message))] : []),
    );
  }

  /* The branch through a message; the conversation goes on from there, in the terminal too. */
  take(message) {
    const leaf = this.branches.end(message.id);
    this.api.patch(`v1/conversations/${this.head.id}`, { leaf }).catch(() => {});
    return this.go({ conversation: this.head.id, leaf, message: message.id }, { fresh: true });
  }

  /* The token of the selection: its glass, where it is here already. */
  open() {
    const { message, token, view, compare } = this.selection;
    const reply = this.branches.get(message);
    const known = this.thread.view(message)?.tokens;
    const here = reply && !compare ? known?.[token] : null;
    const span = this.thread.select(here ? message : null, token ?? null);
    if (!here) {
      this.thread.mark(null);
      this.thread.look(null);
      if (token === undefined || !reply || known) this.glass.empty();
      const element = reply && token === undefined && this.thread.view(message)?.element;
      if (element && this.shown !== message) element.scrollIntoView({ block: "nearest" });
      else if (reply) this.thread.load(this.thread.view(message).element);
      this.shown = message;
      return;
    }
    this.shown = message;
    const source = this.sources.of({
      reply,
      number: token,
      tokens: known,
      path: this.branches.path(message),
      thread: this.thread,
      pick: this.head.goes_on ? (id) => this.branch(reply, token, id) : null,
    });
    const before = placeOf(reply, known, token).text;
    const place = { api: this.api, selection: this.selection, info: this.info, go: this.go, ids: before };
    const walk = before ? { ids: before.join(","), model: this.info.model } : { conversation: this.head.id, message, token: String(token) };
    this.glass.show({
      key: `${message}/${token}`,
      token: source.token,
      number: token,
      of: known.length,
      view,
      door: `#/walk?${new URLSearchParams(walk)}`,
      source: { ...source, place },
    });
    span.scrollIntoView({ block: "nearest" });
  }

  async tokensOf(message) {
    const whole = await this.api.get(`v1/conversations/${message.conversation}/messages/${message.id}`);
    this.branches.add(whole);
    return whole.generated?.tokens ?? null;
  }

  /* Below a message: what one can do with it. */
  foot(message) {
    const button = (text, label, onclick) =>
      make("button", { type: "button", className: "plain", textContent: text, "aria-label": label, title: label, onclick });
    const own = [];
    const siblings = this.branches.siblings(message);
    if (siblings.length > 1) {
      const at = siblings.indexOf(message);
      const to = (i, text, label) => {
        const element = button(text, label, () => this.take(siblings[i]));
        element.disabled = !siblings[i];
        return element;
      };
      own.push(
        to(at - 1, "‹", "The one before"),
        make("span", { className: "quiet", textContent: `${at + 1} of ${siblings.length}` }),
        to(at + 1, "›", "The next one"),
      );
      if (message.role === "assistant") {
        const other = siblings.find(({ id }) => id === message.source) ?? siblings[at ? at - 1 : 1];
        own.push(
          button("Compare", "Compare with the other one", () =>
            this.go({ leaf: this.leaf, message: message.id, token: null, compare: other.id }),
          ),
        );
      }
    }
    if (this.head?.goes_on) {
      if (message.role === "user") own.push(button("Edit", "Say something else here", () => this.edit(message)));
      else own.push(button("Retry", "Another reply", () => this.writer.write(`messages/${message.id}/retry`, {})));
    }
    return own;
  }

  edit(message) {
    const view = this.thread.view(message.id);
    const box = make("textarea", { value: message.text, rows: 3, "aria-label": "Say this instead" });
    const back = () => {
      view.foot.replaceChildren(...this.foot(message));
      view.text.hidden = false;
    };
    view.text.hidden = true;
    const say = () => {
      const text = box.value.trim();
      back();
      if (text) this.writer.write(`messages/${message.id}/edit`, { text }, { text, parent: message.parent, source: message.id });
    };
    view.foot.replaceChildren(
      box,
      make("button", { type: "button", className: "main", textContent: "Say this instead", onclick: say }),
      make("button", { type: "button", className: "plain", textContent: "Leave it", onclick: back }),
    );
    box.onkeydown = (event) => {
      if (event.key === "Escape") back();
    };
    box.focus();
  }

  async say(text) {
    if (this.writer.busy) return;
    try {
      if (!this.head) {
        const { system, settings } = this.draft;
        const head = await this.api.post("v1/conversations", { system, settings });
        this.head = { ...head, messages: [] };
        this.branches = new Branches();
        this.closeHome();
        await this.go({ conversation: head.id }, { fresh: true });
      }
    } catch (error) {
      this.composer.tell(error.message);
      return;
    }
    this.composer.clear();
    const sent = await this.writer.write("messages", { text, parent: this.leaf }, { text, parent: this.leaf, source: null });
    if (!sent) this.composer.box.value = text;
  }

  /* A reply that still comes is stopped for it. */
  async branch(reply, step, token) {
    if (this.writer.reply === reply.id) await this.writer.stopped();
    return this.writer.write(`messages/${reply.id}/branch`, { step, token });
  }

  async change() {
    const known = this.head ?? this.draft;
    const changed = await askSettings(known);
    if (!changed) return;
    if (!this.head) {
      this.draft = {
        system: changed.system === undefined ? this.draft.system : changed.system,
        settings: { ...this.draft.settings, ...changed.settings },
      };
      return;
    }
    try {
      Object.assign(this.head, await this.api.patch(`v1/conversations/${this.head.id}`, changed));
    } catch (error) {
      this.composer.tell(error.message);
    }
  }

  shaded(on) {
    this.shade.setAttribute("aria-pressed", String(on));
    this.middle.classList.toggle("shaded-tokens", on);
  }

  drawCompare() {
    const { compare: other, message } = this.selection;
    const key = other && message ? `${message} ${other}` : "";
    this.thread.element.hidden = Boolean(key);
    if (this.compared === key) return;
    this.compared = key;
    this.comparisons?.abort();
    this.comparing.replaceChildren();
    if (!key) return;
    const { signal } = (this.comparisons = new AbortController());
    const back = () => this.go({ compare: null });
    Promise.all(
      [message, other].map(async (id) => ({ ...this.branches.get(id), tokens: await this.tokensOf({ id, conversation: this.head.id }) })),
    ).then(
      async ([first, second]) => {
        const { compare } = await import("./compare.js");
        if (signal.aborted || !first.tokens || !second.tokens) return;
        const siblings = this.branches.siblings(this.branches.get(message)).map(({ id }) => id);
        const names = [first, second].map(({ id }) => `reply ${siblings.indexOf(id) + 1} of ${siblings.length}`);
        this.comparing.replaceChildren(compare({ api: this.api, first, second, names, signal, close: back }).element);
      },
      (error) => this.composer.tell(error.message),
    );
  }

  /* Nothing said yet: the talk's sentence, and below it its walk. */
  drawHome() {
    const { live, token, view } = this.selection;
    document.title = "Pellucid";
    this.title.textContent = "";
    this.comparing.replaceChildren();
    this.frame.classList.add("at-home");
    if (this.sentence?.key !== (live ?? "")) this.sentence = { key: live ?? "", ...liveSentence(this.info, live) };
    const { sentence } = this;
    const choose = (i) => this.go({ live: live ?? null, token: i, view });
    const line = drawSentence(sentence, { token, choose, pulse: token === undefined && !this.pulsed });
    this.pulsed = true;
    this.home.replaceChildren(
      make("p", {
        className: "quiet lead",
        textContent: "A small model goes on with the talk's sentence, in this page. Open a word, or say something to the model below.",
      }),
      line,
      (this.examples = this.makeExamples()),
    );
    if (token !== undefined && sentence.steps[token]) {
      const source = liveSource(sentence, token, (id) => {
        const kept = sentence.whole.slice(0, sentence.ids.length + token);
        this.go({ live: [...kept, id].join(","), token: null, view: null });
      });
      const before = sentence.whole.slice(0, sentence.ids.length + token).join(",");
      this.glass.show({
        key: `live ${live}/${token}`,
        token: source.token,
        number: token,
        of: sentence.steps.length,
        view,
        door: `#/walk?ids=${before}`,
        source,
      });
    } else this.glass.empty();
    if (!this.below.firstChild) {
      this.below.append(make("div", { className: "walk-waits" }));
      requestAnimationFrame(async () => {
        this.walk = await walkBelow(this.below, this.info);
        whenIdle(() => Promise.all([this.glass.fetch(), fetchSteps()]).catch(() => {}));
      });
    }
  }

  makeExamples() {
    return examples(this.info.model, (text) => this.say(text));
  }

  /* The server's model is known now. */
  named() {
    if (!this.examples?.isConnected) return;
    const made = this.makeExamples();
    this.examples.replaceWith(made);
    this.examples = made;
  }

  closeHome() {
    this.home.replaceChildren();
    this.frame.classList.remove("at-home");
    this.walk?.close();
    this.walk = null;
    this.below.replaceChildren();
  }

  key(event) {
    const { key } = event;
    const opened = this.selection.token !== undefined;
    if (key === "w" && opened) this.go({ view: "why" }, { replace: true });
    else if (key === "x" && opened) this.go({ view: "change" }, { replace: true });
    else if (key === "Escape" && (opened || this.selection.compare)) this.go({ token: null, message: null, view: null, compare: null });
    else if (key === "/") this.composer.box.focus();
    else if (key === "ArrowLeft" || key === "ArrowRight") return this.head ? this.thread.step(key) : this.walkSentence(key);
    else return false;
    return true;
  }

  walkSentence(key) {
    const { live, token, view } = this.selection;
    const to = token === undefined ? 0 : token + (key === "ArrowLeft" ? -1 : 1);
    if (!this.sentence?.steps[to]) return false;
    this.go({ live, token: to, view });
    return true;
  }
}
