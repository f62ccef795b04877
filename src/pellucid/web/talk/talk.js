/* The talk as a component: its frames, one at a time, over the whole screen.

     const talk = new Talk({ host, content, machine, place, onplace, leave });
     talk.go(frame, beat)    frames count from 0; a beat is one press within a frame
     talk.use(text)          another sentence: every frame from now on
     talk.show(place)        another place, as an address has it
     talk.place              {frame, beat, text, layer, head}: with the model, all that is on the screen
     talk.close()

   content: the words and the machine of a walk's page. leave: where a way out leads, or null. `mount`
   is the same as a place of the served page. */

import { Machine } from "../machine/machine.js";
import { drawAgain, dark, drawn } from "../picture/colour.js";
import { choice, make, select } from "../picture/elements.js";
import { LivePass } from "../walk/pass.js";
import { Field } from "./field.js";
import { FRAMES } from "./frames.js";
import { KEYS, listen } from "./keys.js";
import { Notes } from "./notes.js";
import { draw, walkPlace } from "./stage.js";

const FEW = 8;
const LARGEST = 1.6; /* of a figure's size */
const SMALLEST = 0.4; /* before it scrolls */
const STEP = 0.05;
const PHONE = 900; /* pixels: talk.css has the same */

/** @typedef {{ frame: number, beat: number, text: string | null, layer: number, head: number }} Place text null: the talk's own */

export class Talk {
  /**
   * @param {object} options
   * @param {HTMLElement} options.host
   * @param {any} options.content
   * @param {Machine} [options.machine]
   * @param {Partial<Place>} [options.place]
   * @param {(place: Place) => void} [options.onplace]
   * @param {string | null} [options.leave]
   */
  constructor({ host, content, machine = new Machine(content.machine), place = {}, onplace = (_) => {}, leave = null }) {
    this.content = content;
    this.machine = machine;
    this.onplace = (_) => {};
    this.memory = {};
    this.frame = 0;
    this.beat = 0;
    this.pass = new LivePass(machine, place.text ?? content.text);
    this.opened = this.fitting(place);
    this.make(leave);
    host.replaceChildren(this.element);
    this.field = new Field(this.canvas);
    this.notes = new Notes(this);
    const resized = () => this.fit();
    addEventListener("resize", resized);
    this.ended = [
      listen(this),
      drawn(() => this.shown && this.draw()),
      () => removeEventListener("resize", resized),
      () => this.notes.close(),
      () => this.field.close(),
      alone(host),
    ];
    this.go(place.frame ?? 0, place.beat ?? 0);
    this.onplace = onplace;
    this.element.focus({ preventScroll: true });
  }

  /** @returns {Place} */
  get place() {
    const { frame, beat, pass, opened } = this;
    const own = pass.text === this.content.text;
    return { frame, beat, text: own ? null : pass.text, layer: opened.layer, head: opened.head };
  }

  close() {
    for (const end of this.ended) end();
    this.element.remove();
  }

  fitting({ layer = 0, head = 0 }) {
    const { n_layer, n_head } = this.machine.hparams;
    return { layer: Math.min(layer, n_layer - 1), head: Math.min(head, n_head - 1), position: this.pass.pieces.length - 1 };
  }

  make(leave) {
    const button = (text, label, onclick) =>
      make("button", { type: "button", className: "quiet-button", textContent: text, "aria-label": label, title: label, onclick });
    this.canvas = make("canvas", { className: "field", "aria-hidden": "true" });
    this.slide = make("section", { className: "slide", "aria-roledescription": "slide" });
    this.marks = FRAMES.map(({ title }, i) =>
      make("a", {
        href: `#/talk?frame=${i + 1}`,
        title: `${i + 1} ${title}`,
        "aria-label": `Frame ${i + 1}: ${title}`,
        onclick: (event) => (event.preventDefault(), this.go(i)),
      }),
    );
    this.count = make("span", { className: "frame-count" });
    this.composer = make("div", { className: "composer", hidden: true });
    this.help = make(
      "div",
      { className: "keys-help", hidden: true, role: "dialog", "aria-label": "Keys" },
      make("dl", {}, ...KEYS.flatMap(([keys, says]) => [make("dt", { textContent: keys }), make("dd", { textContent: says })])),
    );
    this.black = make("div", { className: "black", hidden: true, role: "status", onclick: () => this.toggleBlack() });
    this.said = make("p", { className: "unseen", "aria-live": "polite" });
    this.notice = make("p", { className: "note talk-notice", role: "status", hidden: true });
    const bar = make(
      "nav",
      { className: "talk-bar", "aria-label": "Frames" },
      button("‹", "Back", () => this.back()),
      button("›", "Next", () => this.next()),
      make("div", { className: "marks" }, ...this.marks),
      this.count,
      button("type", "Type another sentence", () => this.compose()),
      button("notes", "Notes and clock in a second window", () => this.notes.open()),
      button("full", "Full screen", () => this.fullScreen()),
      button("?", "Keys", () => this.showKeys()),
      leave ? make("a", { href: leave, className: "quiet-button", textContent: "leave" }) : null,
    );
    this.element = make(
      "div",
      { className: "talk", tabIndex: -1, role: "region", "aria-label": "The talk" },
      this.canvas,
      make("h1", { className: "unseen", textContent: "Neural Networks and Transformers" }),
      this.slide,
      this.composer,
      this.help,
      this.said,
      this.notice,
      bar,
      this.black,
    );
    /* After a click the keys belong to the talk again; whoever walks by Tab keeps the place. */
    this.element.addEventListener("click", (event) => {
      const target = /** @type {Element} */ (event.target);
      if (event.detail && !target.closest("input, select, .composer")) this.element.focus({ preventScroll: true });
    });
  }

  context() {
    const { pass, content, memory, opened } = this;
    return {
      pass,
      place: opened,
      content,
      memory,
      feed: null,
      known: {
        model: pass.model ? `the model “${pass.model}”` : "this model",
        n_embd: pass.hparams.n_embd.toLocaleString("en"),
        n_vocab: pass.hparams.n_vocab.toLocaleString("en"),
        layer: String(opened.layer),
        head: String(opened.head),
      },
      choose: (change) => this.choose(change),
      turn: (beat) => beat >= 0 && this.go(this.frame, beat),
      compose: () => this.compose(),
    };
  }

  /* beat: Infinity for the last of a frame. */
  go(frame, beat = 0) {
    const to = Math.max(0, Math.min(FRAMES.length - 1, frame));
    const fresh = to !== this.frame || !this.shown;
    this.frame = to;
    if (!this.black.hidden) this.toggleBlack();
    this.help.hidden = this.notice.hidden = true;
    if (fresh) this.draw(beat);
    else this.turn(beat);
    this.notes.update(fresh);
    this.onplace(this.place);
  }

  show(place) {
    const now = this.place;
    if (place.text !== now.text) this.use(place.text ?? this.content.text);
    if (place.layer !== now.layer || place.head !== now.head) this.choose(this.fitting(place));
    if (place.frame !== now.frame || place.beat !== now.beat) this.go(place.frame, place.beat);
  }

  next() {
    if (this.beat + 1 < this.shown.beats) this.go(this.frame, this.beat + 1);
    else if (this.frame + 1 < FRAMES.length) this.go(this.frame + 1);
  }

  back() {
    if (this.beat > 0) this.go(this.frame, this.beat - 1);
    else if (this.frame > 0) this.go(this.frame - 1, Infinity);
  }

  draw(beat = this.beat) {
    const frame = FRAMES[this.frame];
    this.shown = draw(frame, this.context());
    const at = walkPlace(frame, this.content.networks);
    const small = at && make("p", { className: "walk-place", textContent: `step ${at.number} of ${at.of}` });
    const rows = (at?.rows ?? []).map(([what, biological, artificial]) =>
      make("p", { className: "compared" }, `${what}: ${biological} ↔ `, make("b", { textContent: artificial })),
    );
    const bare = !frame.kind && !frame.step;
    this.slide.className = bare ? "slide bare" : "slide";
    this.slide.dataset.frame = frame.key;
    this.slide.setAttribute("aria-label", `Frame ${this.frame + 1} of ${FRAMES.length}: ${frame.title}`);
    const title = make("h2", { textContent: frame.title, className: frame.quiet ? "unseen" : "" });
    const head = bare ? title : make("header", { className: "slide-head" }, title, ...rows, small);
    this.slide.replaceChildren(head, make("div", { className: "slide-body" }, ...this.shown.body));
    this.marks.forEach((mark, i) => {
      mark.className = i < this.frame ? "past" : "";
      if (i === this.frame) mark.setAttribute("aria-current", "step");
      else mark.removeAttribute("aria-current");
    });
    this.count.textContent = `${this.frame + 1} / ${FRAMES.length}`;
    this.said.textContent = `${this.frame + 1}: ${frame.title}`;
    this.field.show(frame.field ?? "");
    this.turn(beat);
  }

  turn(beat) {
    this.beat = Math.max(0, Math.min(this.shown.beats - 1, beat));
    this.shown.show(this.beat);
    this.slide.dataset.beat = String(this.beat);
    this.fit();
  }

  /* Figures are as large as the frame allows, in one row or several, whichever lets them be larger;
     words keep their size. A phone scrolls. */
  fit() {
    const body = /** @type {HTMLElement} */ (this.slide.querySelector(".slide-body"));
    const figures = body.querySelectorAll(".figures");
    const fits = (inRow, size) => {
      for (const each of figures) each.classList.toggle("in-row", inRow);
      body.style.setProperty("--fit", size.toFixed(2));
      const wide = [...body.querySelectorAll(".matrix-scroll")].some((part) => part.scrollWidth > part.clientWidth + 1);
      return !wide && body.scrollHeight <= body.clientHeight && body.scrollWidth <= body.clientWidth;
    };
    if (innerWidth <= PHONE || !figures.length) fits(false, 1);
    else {
      const [inRow, stacked] = [true, false].map((row) => largest((size) => fits(row, size)));
      const found = fits(inRow >= stacked, Math.max(inRow, stacked, SMALLEST));
      for (const each of figures) each.classList.toggle("whole", found);
    }
  }

  choose(change) {
    this.opened = { ...this.opened, ...change };
    this.draw();
    this.onplace(this.place);
  }

  /* Returns what was done to a text that the model cannot take as it is, or "". */
  use(text) {
    const pass = new LivePass(this.machine, text);
    if (!pass.pieces.length) return pass.note;
    this.pass = pass;
    this.opened = this.fitting(this.opened);
    this.draw();
    this.notes.update(false);
    this.onplace(this.place);
    return pass.note;
  }

  /* Another sentence, another layer or head, at any frame. */
  compose() {
    const { n_layer, n_head } = this.machine.hparams;
    const note = make("p", { className: "note", hidden: true });
    const input = make("input", { type: "text", value: this.pass.text, autocomplete: "off", spellcheck: false });
    input.oninput = () => {
      note.textContent = this.use(input.value);
      note.hidden = !note.textContent;
    };
    input.onkeydown = (event) => {
      if (event.key === "Enter") this.stay();
    };
    const chooser = (what, n) => {
      const names = [...Array(n).keys()].map(String);
      if (n <= FEW) return choice(what, names, (i) => i !== this.opened[what] && this.choose({ [what]: i }), this.opened[what]);
      const [field, box] = select(what, names, (i) => this.choose({ [what]: i }));
      box.selectedIndex = this.opened[what];
      return field;
    };
    this.composer.replaceChildren(
      make("label", { className: "text-box" }, make("span", { textContent: "Sentence" }), input),
      chooser("layer", n_layer),
      chooser("head", n_head),
      make("button", { type: "button", className: "option", textContent: "Done", onclick: () => this.stay() }),
      note,
    );
    this.composer.hidden = false;
    input.focus();
    input.select();
  }

  tell(text) {
    this.notice.textContent = text;
    this.notice.hidden = false;
  }

  /* What lies over the frame goes; the keys are the talk's again. */
  stay() {
    this.composer.hidden = this.help.hidden = true;
    this.element.focus({ preventScroll: true });
  }

  showKeys() {
    this.help.hidden = !this.help.hidden;
  }

  toggleBlack() {
    this.black.hidden = !this.black.hidden;
    this.black.textContent = this.black.hidden ? "" : "The screen is black. Press b to go on.";
    this.notes.update(false);
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen?.().catch(() => {});
  }

  theme() {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    drawAgain();
  }
}

/* The largest size down to the smallest that fits, by halves; 0 where none does. */
function largest(fits) {
  let [low, high] = [0, Math.round((LARGEST - SMALLEST) / STEP)];
  const size = (step) => SMALLEST + STEP * step;
  if (!fits(size(low))) return 0;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(size(middle))) low = middle;
    else high = middle - 1;
  }
  return size(low);
}

/* Whatever is not the talk is out of reach while it covers it. Returns what ends that. */
function alone(host) {
  const covered = [];
  for (let element = host; element && element !== document.body; element = element.parentElement)
    for (const other of element.parentElement?.children ?? []) if (other !== element && !other.inert) covered.push(other);
  for (const other of covered) other.inert = true;
  return () => covered.forEach((other) => (other.inert = false));
}

/**
 * The part of an address that is the talk's: frames and beats count from 1 there.
 * @param {Record<string, any>} known
 * @returns {Place}
 */
export function readPlace({ frame, beat, text = null, layer, head }) {
  const counted = (value, from) => (/^\d{1,6}$/.test(value ?? "") ? Math.max(0, Number(value) - from) : 0);
  return { frame: counted(frame, 1), beat: counted(beat, 1), text, layer: counted(layer, 0), head: counted(head, 0) };
}

export function writePlace({ frame, beat, text, layer, head }) {
  return { frame: frame + 1, beat: beat ? beat + 1 : null, text, layer: layer || null, head: head || null };
}

/* As a place of the served page: the address says #/talk?frame=N&beat=M&text=… */
export async function mount(host, { selection, info, go }) {
  await styled();
  const onplace = (place) => go(writePlace(place), { replace: true });
  const talk = new Talk({ host, content: info.content, machine: info.machine(), place: readPlace(selection), onplace, leave: "#/chat" });
  return {
    update: (chosen) => talk.show(readPlace(chosen)),
    close: () => talk.close(),
  };
}

/* The talk's own style, once. */
function styled() {
  const href = new URL("./talk.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return null;
  return new Promise((resolve) => document.head.append(make("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve })));
}
