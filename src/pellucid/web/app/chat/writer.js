/* A reply as it comes: said, edited, taken again, or another way from a token. */

import { make } from "../../picture/elements.js";
import { onOneLine } from "../../picture/notation.js";

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

  /* said: { text, parent, source } where something new is said for it. → whether it began. */
  async write(path, body, said = null) {
    if (this.busy) return false;
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
    const follow = async () => {
      for await (const chunk of api.stream("POST", `v1/conversations/${id}/${path}`, { ...body, stream: true }, signal)) {
        if (chat.head?.id !== id) return;
        if (chunk.conversation) {
          pending?.remove();
          view = this.begun(chunk, said);
        } else if (chunk.tokens && view) {
          view.append(chunk.tokens);
          view.message.text += chunk.tokens.map(({ text }) => text).join("");
          this.atEnd();
        }
        if (chunk.kept && !chunk.kept.kept && chunk.kept.problem) view?.say(`Not kept: ${chunk.kept.problem}. It is tried again.`);
      }
    };
    const wait = (seconds) => composer.tell(`The server is busy; it asks to come back in ${seconds} s, and this page does.`);
    let problem = "";
    try {
      await api.patiently(follow, signal, wait);
    } catch (error) {
      if (error.name !== "AbortError") problem = error.message;
    }
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
    const { message, reply, source, step, notice } = chunk.conversation;
    const conversation = chat.head.id;
    this.reply = reply;
    if (!chat.branches.get(message)) chat.branches.add({ id: message, conversation, role: "user", step: null, generated: null, ...said });
    const text = chunk.tokens.map((token) => token.text).join("");
    const generated = { model: chunk.model, settings: chat.head.settings };
    const added = chat.branches.add({ id: reply, conversation, parent: message, role: "assistant", text, source, step, generated });
    if (!chat.head.title && said) chat.title.textContent = onOneLine(said.text).slice(0, 80);
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
