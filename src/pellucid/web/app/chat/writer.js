/* A reply as it comes: said, edited, taken again, or another way from a token. */

import { make } from "../../picture/elements.js";
import { onOneLine } from "../../picture/notation.js";
import { full, pause, queued } from "../api.js";

const TOGETHER = 40; /* ms of tokens that are drawn at once */
const NEAR = 160; /* px from the end within which it is kept in sight */

export class Writer {
  /* chat: whose head, branches, thread and composer it works on. */
  constructor(chat) {
    this.chat = chat;
    this.controller = null;
    this.reply = null; /* its id, as long as it comes */
  }

  get busy() {
    return this.controller !== null;
  }

  /* What came up to here is kept. */
  stop() {
    this.controller?.abort();
  }

  /* The same; → a promise that it is, so that another can begin there. */
  async stopped() {
    const { api, head } = this.chat;
    const { reply } = this;
    this.stop();
    await this.done;
    for (let i = 0; i < 60; i++) {
      const { messages } = await api.get(`v1/conversations/${head.id}?limit=1000`);
      if (messages.some(({ id, generated }) => id === reply && generated)) return;
      await pause(50);
    }
  }

  /* said: { text, parent, source } where something new is said for it. → whether it began. */
  write(path, body, said = null) {
    if (this.busy) return Promise.resolve(false);
    return (this.done = this.following(path, body, said));
  }

  async following(path, body, said) {
    const { chat } = this;
    const { api, composer, thread } = chat;
    const { signal } = (this.controller = new AbortController());
    const id = chat.head.id;
    const pending = said && waits(said.text);
    if (pending) thread.element.append(pending);
    composer.working = true;
    composer.tell("The model reads…");
    this.atEnd();
    let view = null;
    let timer = null;
    const coming = [];
    const draw = () => {
      clearTimeout(timer);
      timer = null;
      if (!coming.length) return;
      const tokens = coming.splice(0);
      view.append(tokens);
      view.message.text += tokens.map(({ text }) => text).join("");
      this.atEnd();
    };
    const follow = async () => {
      for await (const chunk of api.stream("POST", `v1/conversations/${id}/${path}`, { ...body, stream: true }, signal)) {
        if (chat.head?.id !== id) return;
        if (chunk.waits !== undefined) composer.tell(queued(chunk.waits));
        else if (chunk.conversation) {
          pending?.remove();
          view = this.begun(chunk, said);
        } else if (chunk.tokens && view) {
          coming.push(...chunk.tokens);
          timer ??= setTimeout(draw, TOGETHER);
        }
        if (chunk.kept?.kept) chat.branches.add({ id: this.reply, unkept: false });
        if (chunk.kept && !chunk.kept.kept && chunk.kept.problem) view?.say(`Not kept: ${chunk.kept.problem}. It is tried again.`);
      }
    };
    let problem = "";
    try {
      await api.patiently(follow, signal, (seconds, error) => composer.tell(full(seconds, error)));
    } catch (error) {
      if (error.name !== "AbortError") problem = error.message;
    }
    draw();
    pending?.remove();
    this.controller = this.reply = null;
    composer.working = false;
    composer.tell(problem);
    if (view && chat.head?.id === id) {
      chat.drawTree();
      view.foot.replaceChildren(...chat.foot(view.message));
      chat.list.load();
      chat.open();
    }
    return Boolean(view);
  }

  begun(chunk, said) {
    const { chat } = this;
    const { message, reply, source, step, notice, prompt } = chunk.conversation;
    const conversation = chat.head.id;
    this.reply = reply;
    if (!chat.branches.get(message)) chat.branches.add({ id: message, conversation, role: "user", step: null, generated: null, ...said });
    const text = chunk.tokens.map((token) => token.text).join("");
    const generated = { model: chunk.model, settings: chat.head.settings, prompt };
    /* As long as it comes, the server does not have it yet. */
    const whole = { id: reply, conversation, parent: message, role: "assistant", text, source, step, generated, unkept: true };
    const added = chat.branches.add(whole);
    if (!chat.head.title && said) chat.entitle({ ...chat.head, title: onOneLine(said.text).slice(0, 80) });
    chat.show(reply);
    const view = chat.thread.view(reply);
    view.message = added;
    view.setTokens(chunk.tokens);
    if (notice) view.say(onOneLine(notice));
    chat.go({ conversation, leaf: reply }, { fresh: true, replace: !source });
    chat.composer.tell("");
    this.atEnd(true);
    return view;
  }

  /* While one reads the end, the end stays in sight. */
  atEnd(always = false) {
    const { scrollHeight } = document.documentElement;
    if (!always && this.chat.selection.token !== undefined) return;
    if (always || scrollHeight - innerHeight - scrollY < NEAR) scrollTo({ top: scrollHeight, behavior: "instant" });
  }
}

function waits(text) {
  return make(
    "article",
    { className: "message user pending" },
    make("h3", { className: "who", textContent: "You" }),
    make("div", { className: "text", textContent: text }),
  );
}
