/* The place “walk”: the twelve steps of a pass, by the address: a token of a conversation
   (conversation, message, token) or a text on the server's model (text, model), or a text or ids on
   the model `talk`, which runs in the page. */

import { make } from "../../picture/elements.js";
import { counted, onOneLine } from "../../picture/notation.js";
import { LivePass } from "../../walk/pass.js";
import { STEPS } from "../../walk/steps.js";
import { Walk } from "../../walk/walk.js";
import { pause } from "../api.js";
import { stayHere } from "../chat/prepared.js";
import { bring, bringAll, here } from "./lazy.js";
import { ServedPass } from "./served.js";

const PATIENCE = 350; /* ms after a key, before the server is asked */

export function mount(host, context) {
  const place = new WalkPlace(host, context);
  place.update(context.selection);
  return place;
}

function readIds(ids) {
  return /^\d+(,\d+)*$/.test(ids ?? "") ? ids.split(",").map(Number) : null;
}

class WalkPlace {
  constructor(host, { api, info, go, selection }) {
    this.api = api;
    this.info = info;
    this.go = go;
    this.selection = selection;
    this.about = make("p", { className: "subtitle" });
    this.others = make("p", { className: "subtitle walk-others" });
    this.inner = make("div", { className: "walk-host" });
    this.note = make("p", { className: "quiet walk-note", role: "status" });
    host.replaceChildren(
      make("div", { className: "walk-title" }, make("h1", { textContent: "From a text to the next token" }), this.about, this.others),
      this.inner,
      this.note,
    );
    this.live = this.typed = false;
    this.settle = () => this.walk && this.walk.step !== this.selection.step && this.keep({ step: this.walk.step });
    addEventListener("scrollend", this.settle);
  }

  close() {
    removeEventListener("scrollend", this.settle);
    this.asking?.abort();
    this.walk?.close();
  }

  async update(selection) {
    this.selection = selection;
    const { conversation, message, token, text, ids, model, end = null } = selection;
    const served = conversation && message ? { reply: { conversation, message, token: token ?? 0 } } : null;
    const given = readIds(ids);
    const elsewhere = model && model !== this.info.content.machine.name;
    const asked = served ?? (elsewhere && (text || given) ? { text: given ?? text } : null);
    const wanted = JSON.stringify(asked ? { ...asked, end } : { text: text || undefined, ids });
    if (wanted === this.shown) {
      this.walk?.choose(this.placeOf(selection));
      return;
    }
    this.shown = wanted;
    this.asking?.abort();
    if (!asked) {
      this.draw(this.livePass(selection), this.info.content);
      return;
    }
    await this.serve(asked);
  }

  placeOf({ layer, head, position }) {
    return Object.fromEntries(Object.entries({ layer, head, position }).filter(([, value]) => value != null));
  }

  livePass({ text, ids }) {
    const machine = this.info.machine();
    const { n_ctx, n_vocab } = machine.hparams;
    const given = readIds(ids);
    if (given?.length <= n_ctx && given.every((id) => id < n_vocab)) return new LivePass(machine, "", given);
    return new LivePass(machine, text ?? this.info.content.text);
  }

  /* The server's numbers; what is on the screen stays until they are here. */
  async serve(question, end = this.selection.end ?? null) {
    const { signal } = (this.asking = new AbortController());
    const tell = (text) => (this.note.textContent = text);
    tell("The model computes this pass…");
    this.inner.setAttribute("aria-busy", "true");
    try {
      const pass = await ServedPass.of(this.api, question, { ...this.selection, end }, { signal, tell });
      this.draw(pass, { ...this.info.content, ...pass.told, more: "" });
    } catch (error) {
      if (error.name === "AbortError") return;
      tell(error.message);
      this.shown = null;
    }
    this.inner.removeAttribute("aria-busy");
  }

  draw(pass, content) {
    this.note.textContent = "";
    const live = pass instanceof LivePass;
    const typed = live || Boolean(pass.question.text);
    const { parameters } = this.info;
    const size = parameters ? `, ${counted(parameters)} parameters` : "";
    this.about.textContent = live ? `${content.subtitle}; it runs in this page` : `the server's model ${onOneLine(pass.model)}${size}`;
    this.drawOthers(live);
    const options = { content, pass, place: this.placeOf(this.selection) };
    if (this.walk && this.live === live && this.typed === typed) {
      this.walk.content = content;
      this.walk.use(pass);
      return;
    }
    this.walk?.close();
    Object.assign(this, { live, typed });
    const inner = make("div", {});
    this.inner.replaceChildren(inner);
    this.walk = new Walk({
      host: inner,
      ...options,
      drawers: here,
      bring,
      type: typed ? (text) => this.type(text) : null,
      feed: live ? (ids) => this.feed(ids) : null,
      turn: live ? null : (end) => this.turn(end),
      onplace: (place) => this.keep(place),
    });
    stayHere(inner, this.walk, (step) => this.keep({ step }));
    const { step } = this.selection;
    if (STEPS.some(({ key }) => key === step)) this.reach(step);
  }

  /* A step that the address names: at once, and again when those before it have their height. */
  async reach(step) {
    const { walk } = this;
    walk.section(step).scrollIntoView();
    await bringAll();
    requestAnimationFrame(() => walk === this.walk && walk.section(step).scrollIntoView());
  }

  drawOthers(live) {
    const { conversation, message, token } = this.selection;
    const back =
      conversation &&
      make("a", {
        href: `#/chat?${new URLSearchParams({ conversation, message, token: String(token ?? 0) })}`,
        textContent: "← back to the conversation",
      });
    const { model, content } = this.info;
    const other = live
      ? model && model !== content.machine.name
        ? make("a", {
            href: `#/walk?${new URLSearchParams({ text: this.selection.text ?? content.text, model })}`,
            textContent: `the same through the server's model ${onOneLine(model)}`,
          })
        : null
      : make("a", { href: "#/walk", textContent: "the talk's sentence, on a model in this page" });
    this.others.replaceChildren(...[back, other].filter(Boolean).flatMap((link, i) => (i ? [" · ", link] : [link])));
  }

  async type(text) {
    if (this.live) {
      const pass = new LivePass(this.info.machine(), text);
      this.walk.use(pass);
      this.remember({ text, ids: null });
      return;
    }
    this.typing?.abort();
    this.typing = new AbortController();
    try {
      await pause(PATIENCE, this.typing.signal);
    } catch {
      return;
    }
    if (!text) return;
    this.remember({ text, ids: null, end: null });
    this.asking?.abort();
    await this.serve({ text });
  }

  feed(ids) {
    const pass = new LivePass(this.info.machine(), "", ids);
    this.walk.input.value = pass.text;
    this.walk.use(pass);
    this.remember({ text: null, ids: ids.join(",") });
  }

  /* The rows up to another position. */
  turn(end) {
    const { question } = /** @type {ServedPass} */ (this.walk.pass);
    this.shown = JSON.stringify({ ...question, end });
    this.keep({ end, position: null });
    this.asking?.abort();
    return this.serve(question, end);
  }

  /* The address follows what is on the screen already. */
  remember(change) {
    const { text, ids } = { ...this.selection, ...change };
    const served = !this.live;
    this.shown = JSON.stringify(served ? { text, end: null } : { text: text || undefined, ids: ids ?? undefined });
    this.keep(change);
  }

  keep(change) {
    this.selection = { ...this.selection, ...change };
    this.go(change, { replace: true });
  }
}
