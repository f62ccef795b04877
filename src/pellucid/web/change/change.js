/* The place where the model is changed: its parts as switches, the text before and after, a value
   where the pass is stopped, and examples. All that is on the screen is in the address. Within another
   place it is a tray: there the selected reply is what is changed. */

import { readSelection, writeSelection } from "../app/selection.js";
import { make } from "../picture/elements.js";
import { onOneLine } from "../picture/notation.js";
import { readChanges, readStop, whole, writeChanges, writeStop } from "./changes.js";
import { first, gallery, shown } from "./gallery.js";
import { Sides } from "./sides.js";
import { Breakpoint } from "./stop.js";
import { Tray } from "./tray.js";

const LENGTH = 24;
const TEXT = "The power clapper went straight to";

/* asked: as app.js hands it on; nothing where the sentence is not the server's. */
export async function mount(host, asked) {
  await styled();
  if (!asked) {
    host.append(
      make(
        "p",
        { className: "quiet" },
        "This sentence lives in the page. What the server's model says can be changed: ",
        make("a", { href: "#/change", textContent: "change it" }),
        ".",
      ),
    );
    return null;
  }
  const { api, selection, go, ids = null } = asked;
  const place = new Change(host, api, go, ids);
  await place.update(selection);
  return place;
}

/* The place's own styles, once. */
function styled() {
  const href = new URL("change.css", import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === href)) return null;
  return new Promise((resolve) => document.head.append(make("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve })));
}

class Change {
  /* ids: what is asked about, where the address cannot say it; or null. */
  constructor(host, api, go, ids) {
    host.classList.add("change-place");
    this.host = host;
    this.api = api;
    this.router = go;
    this.given = ids;
    this.address = null;
    this.back = () => this.followed();
    addEventListener("popstate", this.back);
    this.state = null;
    this.model = null;
    this.read = { key: "", ids: [], tokens: [] };
    this.made = []; /* the changes, as the server takes them */
    this.values = new Map();
    this.said = make("p", { className: "note", role: "alert", hidden: true });
    host.append(this.said);
  }

  async go(change, options = {}) {
    await this.router(change, options);
    await this.followed();
  }

  /* The address has changed; who holds this place may have shown it already, or may not. */
  async followed() {
    if (location.hash !== this.address) await this.update(readSelection(location.hash));
  }

  tell(text) {
    this.said.textContent = text;
    this.said.hidden = !text;
  }

  /* Whose numbers these are; once. */
  async known(within) {
    const { data } = await this.api.get("v1/models");
    const [{ id, hparams }] = data;
    this.model = { name: id, hparams };
    this.build(within);
  }

  build(within) {
    const { name, hparams } = this.model;
    const set = (changes) => this.go({ changes: writeChanges(changes) });
    this.tray = new Tray(hparams, set);
    this.sides = new Sides(this.api, (text) => this.tell(text));
    this.stop = new Breakpoint(
      this.api,
      hparams,
      (stop) => this.go({ stop: writeStop(stop) }),
      (change) => this.go({ changes: writeChanges([...this.state.changes, change]), stop: null }),
    );
    this.text = make("input", { type: "text", maxLength: 4000, spellcheck: false });
    this.text.oninput = () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(
        () => this.go({ text: this.text.value, ids: null, conversation: null, message: null, token: null, stop: null }, { replace: true }),
        250,
      );
    };
    const number = (label, key, properties) => {
      const box = make("input", { type: "number", ...properties });
      box.onchange = () => box.reportValidity() && this.go({ [key]: box.value });
      this[key] = box;
      return make("label", { className: "field" }, make("span", { textContent: label }), box);
    };
    this.look = make("p", { className: "example-look", hidden: true });
    const size = `${hparams.n_layer} layers × ${hparams.n_head} heads, window ${hparams.n_ctx}`;
    const title = (text) => make(within ? "h3" : "h2", { textContent: text });
    this.door = within ? make("a", { className: "door", textContent: "Open it in full →" }) : null;
    const subtitle = make("p", { className: "subtitle", textContent: `${onOneLine(name)} · ${size}` });
    const asked = make(
      "div",
      { className: "change-asked" },
      make("label", { className: "text-box", hidden: within }, make("span", { textContent: "Text" }), this.text),
      number("Tokens", "length", { min: 1, max: 200, step: 1 }),
      number("Temperature", "temperature", { min: 0, max: 2, step: 0.05 }),
      number("Seed", "seed", { min: 0, max: 2 ** 32 - 1, step: 1 }),
    );
    const press = within
      ? "Press a head, an MLP or a token: it is off."
      : make("span", {}, "Press a head, an MLP or a token of the text: it is off. ", key("x"), " too; ", key("z"), " undoes.");
    const parts = make(
      "section",
      { className: "change-parts" },
      within ? null : title("Parts"),
      make("p", { className: "how" }, press),
      this.tray.list,
      this.tray.element,
    );
    const sides = make(
      "section",
      { className: "change-sides" },
      title("Before and after"),
      make("p", { className: "how", textContent: "The same text and seed, as the model is and changed, until both end or have met." }),
      this.sides.element,
    );
    const stop = make(
      "section",
      { className: "change-stop" },
      within ? null : title("Stop the pass"),
      make("p", {
        className: "how",
        textContent:
          "Choose a value of the pass: it is run as far as there, with the changes so far. Look at its numbers, edit them, and go on: the edited value is set in every pass, and the next stop sees it.",
      }),
      this.stop.element,
    );
    const frame = make("div", { className: "change-frame" }, parts, sides);
    if (within) {
      const more = (text, content) => make("details", { className: "more-changes" }, make("summary", { textContent: text }), content);
      const foot = make("div", { className: "change-head" }, subtitle, this.door);
      this.host.prepend(this.tray.strip, frame, more("Tokens, temperature, seed", asked), more("Stop the pass at a value", stop), foot);
    } else {
      this.host.prepend(
        make("div", { className: "change-head" }, make("h1", { textContent: "Change it" }), subtitle),
        asked,
        this.tray.strip,
        this.look,
      );
      this.host.append(frame, stop, gallery(name));
    }
  }

  /** @param {import("../app/selection.js").Selection} selection */
  async update(selection) {
    this.address = location.hash;
    if (this.sides) this.sides.element.dataset.state = "running";
    try {
      if (!this.model) await this.known(selection.place !== "change");
      this.state = this.stateOf(selection);
      const updating = (this.updating = {});
      const read = await this.tokenize(this.state);
      if (updating !== this.updating) return;
      const made = await whole(this.state.changes, (stop, changes) => this.valueAt(stop, read.ids, changes));
      if (updating !== this.updating) return;
      this.read = read;
      this.made = made;
      this.tell("");
      this.show(selection);
    } catch (error) {
      this.tell(error.message);
      if (this.sides) this.sides.element.dataset.state = "failed";
    }
  }

  stateOf(selection) {
    const bounded = (text, low, high, otherwise) => {
      const value = Number(text);
      return text === undefined || text === "" || !Number.isFinite(value) ? otherwise : Math.max(low, Math.min(high, value));
    };
    const example = shown(this.model.name, selection.text ?? "", null);
    const reply = selection.conversation && selection.message !== undefined;
    return {
      text: selection.text ?? null,
      ids: this.given ?? (/^\d+(,\d+)*$/.test(selection.ids ?? "") ? selection.ids.split(",").map(Number) : null),
      reply:
        reply && !this.given ? { conversation: selection.conversation, message: selection.message, token: selection.token ?? 0 } : null,
      changes: readChanges(selection.changes),
      stop: readStop(selection.stop),
      temperature: bounded(selection.temperature, 0, 2, 0),
      seed: Math.round(bounded(selection.seed, 0, 2 ** 32 - 1, 0)),
      length: Math.round(bounded(selection.length, 1, 200, example?.length ?? LENGTH)),
    };
  }

  /* The numbers where a pass was stopped, as they were then; asked once. */
  valueAt(stop, ids, changes) {
    const key = JSON.stringify([stop, ids, changes]);
    if (!this.values.has(key)) {
      const value = this.stop.read(stop, ids, changes, null);
      this.values.set(key, value);
      value.catch(() => this.values.delete(key));
    }
    return this.values.get(key);
  }

  /* What is asked about, as ids and as its tokens' texts. */
  async tokenize({ text, ids, reply }) {
    const known = text ?? (reply || ids ? null : (first(this.model.name)?.text ?? TEXT));
    const asked = ids ? { text: ids } : reply && text === null ? { reply } : { text: known };
    const key = JSON.stringify(asked);
    if (asked.text === "") throw new Error("Write something: there is nothing to go on from.");
    if (key === this.read.key) return this.read;
    const { tokens, text: whole } = await this.api.post("v1/inspect/tokens", asked);
    return { key, ids: tokens.map(({ id }) => id), tokens: tokens.map(named), text: known ?? whole };
  }

  show(selection) {
    const { state, read, model, made } = this;
    if (document.activeElement !== this.text) this.text.value = onOneLine(read.text);
    for (const key of ["length", "temperature", "seed"]) this[key].value = String(state[key]);
    const at = [selection.layer, selection.head];
    if (at.every(Number.isInteger) && at[0] < model.hparams.n_layer && at[1] < model.hparams.n_head) this.tray.reach(...at);
    this.tray.update(read.tokens, state.changes);
    if (this.door) this.door.href = writeSelection({ ...this.addressed(selection), place: "change", view: null });
    const example = shown(model.name, read.text, state.changes);
    this.look.hidden = !example;
    this.look.textContent = example?.look ?? "";
    this.stop.update(state.stop, read.ids, read.tokens, made);
    if (read.ids.length >= model.hparams.n_ctx) {
      this.sides.element.dataset.state = "failed";
      this.tell(`${read.ids.length} tokens fill the window of ${model.hparams.n_ctx}: nothing can follow. Shorten the text.`);
      return;
    }
    const { temperature, seed, length } = state;
    this.sides.run({ ids: read.ids, changes: made, temperature, seed, length });
  }

  /* By ids, where they are nothing that the server keeps. */
  addressed(selection) {
    if (!this.given) return selection;
    return { ...selection, ids: this.given.join(","), conversation: null, leaf: null, message: null, token: null };
  }

  /* x: the part that the keyboard is at. */
  key(event) {
    if (event.key !== "x" || !this.tray) return false;
    this.tray.toggle(this.tray.here);
    return true;
  }

  close() {
    removeEventListener("popstate", this.back);
    clearTimeout(this.typing);
    this.sides?.close();
    this.stop?.close();
  }
}

function key(text) {
  return make("kbd", { textContent: text });
}

function named({ text, bytes }) {
  return text ?? `⟨${bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join("\u00a0")}⟩`;
}
