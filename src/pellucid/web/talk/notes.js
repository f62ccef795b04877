/* The speaker's window: what to say, what comes next, and the clock. The talk itself writes into it,
   so that nothing has to be sent: the same from a server and from a file on a disk. Keys pressed
   there move the talk. */

import { make } from "../picture/elements.js";
import { FRAMES } from "./frames.js";
import { listen } from "./keys.js";

const NAME = "pellucid-notes";
const KEPT = "pellucid-talk-began";

export function clock(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (n) => String(n).padStart(2, "0");
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}

export class Notes {
  constructor(talk) {
    this.talk = talk;
    this.window = null;
    this.began = kept() ?? Date.now();
    this.turned = Date.now();
    this.spent = FRAMES.map(() => 0);
    this.frame = null;
    this.gone = () => this.leave();
    addEventListener("pagehide", this.gone);
    keep(this.began);
  }

  open() {
    const opened = window.open("", NAME, "popup,width=960,height=720");
    if (!opened) {
      this.talk.tell("The browser did not open a second window: allow pop-ups for this page, then press n again.");
      return;
    }
    this.end?.();
    this.window = opened;
    this.furnish(opened.document);
    const unlisten = listen(this.talk, opened.document);
    const timer = opened.setInterval(() => this.tick(), 500);
    this.end = () => (opened.clearInterval(timer), unlisten());
    this.update(false);
    opened.focus();
  }

  get isOpen() {
    return Boolean(this.window && !this.window.closed);
  }

  furnish(page) {
    const styles = [...document.querySelectorAll("style, link[rel=stylesheet]")].map((style) => {
      const copy = /** @type {any} */ (style.cloneNode(true));
      if (copy.href) copy.href = /** @type {HTMLLinkElement} */ (style).href;
      return page.adoptNode(copy);
    });
    const button = (text, onclick) => make("button", { type: "button", className: "option", textContent: text, onclick });
    this.parts = {
      elapsed: make("b", { className: "clock", role: "timer", "aria-label": "Since the talk began" }),
      here: make("span", { className: "clock-here" }),
      title: make("h1", {}),
      beat: make("p", { className: "notes-beat" }),
      said: make("div", { className: "notes-said" }),
      next: make("p", { className: "notes-next" }),
    };
    const { elapsed, here, title, beat, said, next } = this.parts;
    const bar = make(
      "div",
      { className: "notes-bar" },
      button("‹ back", () => this.talk.back()),
      button("next ›", () => this.talk.next()),
      button("black", () => this.talk.toggleBlack()),
      button("restart the clock", () => this.restart()),
    );
    page.documentElement.lang = "en";
    page.documentElement.dataset.theme = document.documentElement.dataset.theme ?? "";
    page.head.replaceChildren(make("meta", { name: "color-scheme", content: "light dark" }), ...styles);
    page.title = "Notes";
    page.body.className = "notes-page";
    page.body.replaceChildren(make("main", { className: "notes" }, make("header", {}, elapsed, here), title, beat, said, next, bar));
  }

  /* fresh: another frame. */
  update(fresh) {
    const now = Date.now();
    const { talk } = this;
    if (fresh) {
      if (this.frame !== null) this.spent[this.frame] += now - this.turned;
      this.turned = now;
      this.frame = talk.frame;
    }
    if (!this.isOpen || !this.parts) return;
    const { title, beat, said, next } = this.parts;
    const frame = FRAMES[talk.frame];
    const { beats } = talk.shown;
    title.textContent = `${talk.frame + 1} · ${frame.title}`;
    beat.textContent = talk.black.hidden ? (beats > 1 ? `press ${talk.beat + 1} of ${beats}` : "") : "the screen is black";
    said.replaceChildren(...frame.notes.map((text) => make("p", { textContent: text })));
    const coming = FRAMES[talk.frame + 1];
    next.textContent = talk.beat + 1 < beats ? "Next: more of this frame" : coming ? `Next: ${coming.title}` : "This is the last frame.";
    this.tick();
  }

  tick() {
    const now = Date.now();
    const { elapsed, here } = this.parts;
    elapsed.textContent = clock(now - this.began);
    here.textContent = `on this frame ${clock(this.spent[this.talk.frame] + now - this.turned)}`;
  }

  restart() {
    this.began = this.turned = Date.now();
    this.spent.fill(0);
    keep(this.began);
    if (this.isOpen) this.tick();
  }

  /* The talk's page goes away, the window stays. */
  leave() {
    if (!this.isOpen) return;
    this.end();
    this.parts.next.textContent = "The talk's page was left or loaded anew. Press n there, and these notes go on.";
  }

  close() {
    removeEventListener("pagehide", this.gone);
    this.end?.();
    this.window?.close();
  }
}

/* A page that is loaded anew goes on with its clock. */
function kept() {
  try {
    return Number(sessionStorage.getItem(KEPT)) || null;
  } catch {
    return null;
  }
}

function keep(began) {
  try {
    sessionStorage.setItem(KEPT, String(began));
  } catch {
    /* a page that may keep nothing: the clock begins anew */
  }
}
