/* The walk as a component: twelve steps of one pass, the sentence that leads through them, and the
   map. Chat, presenter and training put it, or single steps of it, where they need them.

     const walk = new Walk({ host, content, pass, drawers, bring, place, type, feed, turn, onplace });
     walk.use(pass)          another pass: everything moves at once
     walk.choose({ head: 1 })  another layer, head or position
     walk.section(key)       one step's element, drawn as things stand
     walk.close()            it is not shown any longer
     walk.place, walk.step   {layer, head, position} and the step in sight: with the pass, all that
                             is on the screen

   drawers: what draws each step (drawers.js); bring(key): a promise of one that is not there yet.
   content: {said, looks, networks, sizes, more} as Python hands them over. type(text), feed(ids), turn(end):
   make another pass, the last with rows up to this position; missing where none can be made. */

import { drawn } from "../picture/colour.js";
import { choice, make, select } from "../picture/elements.js";
import { drawStep } from "./step.js";
import { STEPS } from "./steps.js";

const FEW = 8;
const KEPT = 8; /* tokens that stay in sight when the rows of others come */

/* What has the keyboard, by its name: it is given back to its successor. */
function focused() {
  const element = document.activeElement;
  return element instanceof HTMLElement ? (element.dataset.key ?? null) : null;
}

function afterPaint(work) {
  return requestAnimationFrame(() => setTimeout(work));
}

export class Walk {
  /**
   * @param {object} options
   * @param {HTMLElement} options.host
   * @param {any} options.content
   * @param {import("./pass.js").Pass} options.pass
   * @param {Record<string, (context: any) => any>} options.drawers
   * @param {(key: string) => Promise<void>} [options.bring]
   * @param {Partial<import("./pass.js").Place>} [options.place]
   * @param {((text: string) => void) | null} [options.type]
   * @param {((ids: number[]) => void) | null} [options.feed]
   * @param {((end: number) => void) | null} [options.turn]
   * @param {(place: import("./pass.js").Place) => void} [options.onplace]
   */
  constructor({ host, content, pass, drawers, bring = null, place = {}, type = null, feed = null, turn = null, onplace = (_) => {} }) {
    this.content = content;
    this.pass = pass;
    this.drawers = drawers;
    this.bring = bring;
    this.type = type;
    this.feed = feed;
    this.turn = turn;
    this.onplace = onplace;
    this.memory = {};
    this.step = STEPS[0].key;
    this.drawn = new Set();
    this.stale = new Set(); /* of them those that are yet to be drawn as things stand */
    this.sections = new Map(
      STEPS.map((step) => [
        step.key,
        make("section", { id: `step-${step.key}`, className: "step", "data-step": step.key, "aria-label": step.name }),
      ]),
    );
    this.place = this.fit({ layer: 0, head: 0, position: pass.pieces.length - 1, ...place });
    this.sentence = make("div", { className: "sentence-bar" });
    this.map = this.makeMap();
    host.replaceChildren(
      this.sentence,
      make("div", { className: "walk-frame" }, this.map, make("div", { className: "walk-steps" }, ...this.sections.values())),
    );
    this.drawSentence();
    /* Only what is near the screen is drawn; the rest once it comes near. */
    this.near = new Set();
    const nearby = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          const key = target.getAttribute("data-step");
          if (isIntersecting) this.near.add(key);
          else this.near.delete(key);
          if (isIntersecting) this.section(key);
        }
      },
      { rootMargin: "300px" },
    );
    for (const section of this.sections.values()) nearby.observe(section);
    const watching = this.watch();
    const forget = drawn(() => this.redraw());
    this.close = () => {
      nearby.disconnect();
      watching.disconnect();
      forget();
    };
  }

  fit(place) {
    const { n_layer, n_head } = this.pass.hparams;
    const within = (at, n) => Math.max(0, Math.min(n - 1, at));
    return {
      layer: within(place.layer, n_layer),
      head: within(place.head, n_head),
      position: within(place.position, this.pass.pieces.length),
    };
  }

  get context() {
    const { pass, place, content, memory, feed } = this;
    return { pass, place, content, memory, feed, choose: (change) => this.choose(change), known: this.known() };
  }

  /* What the sentences of every step may name. */
  known() {
    const { pass, place } = this;
    const { n_embd, n_vocab } = pass.hparams;
    return {
      model: pass.model ? `the model “${pass.model}”` : "this model",
      n_embd: n_embd.toLocaleString("en"),
      n_vocab: n_vocab.toLocaleString("en"),
      layer: String(place.layer),
      head: String(place.head),
    };
  }

  section(key) {
    if (!this.drawn.has(key) || this.stale.has(key)) this.draw(key);
    return this.sections.get(key);
  }

  draw(key) {
    this.stale.delete(key);
    const at = STEPS.findIndex((step) => step.key === key);
    const section = this.sections.get(key);
    const focus = section.contains(document.activeElement) ? focused() : null;
    const { pass, place } = this;
    const waits = [pass.load(STEPS[at].needs(place, pass.anatomy), place), this.drawers[key] ? null : this.bring(key)].filter(Boolean);
    const ready = waits.length ? Promise.all(waits) : null;
    if (!ready) {
      this.fill(section, at, focus);
      return;
    }
    section.setAttribute("aria-busy", "true");
    this.drawn.add(key);
    const still = () => this.pass === pass && this.place === place;
    ready.then(
      () => still() && this.fill(section, at, focus),
      (error) => still() && this.explain(section, at, error.message),
    );
  }

  /* In place of a step that cannot be drawn. */
  explain(section, at, text) {
    section.removeAttribute("aria-busy");
    section.replaceChildren(
      make("h2", { id: `${STEPS[at].key}-title`, textContent: STEPS[at].name }),
      make("p", { className: "note", textContent: text }),
    );
    section.dataset.drawn = "";
    this.drawn.add(STEPS[at].key);
  }

  fill(section, at, focus) {
    if (!this.pass.pieces.length) {
      this.explain(section, at, this.pass.note);
      return;
    }
    section.removeAttribute("aria-busy");
    section.replaceChildren(...drawStep(STEPS[at], this.drawers[STEPS[at].key], at + 1, this.context));
    section.dataset.drawn = "";
    this.drawn.add(STEPS[at].key);
    if (focus) section.querySelector(`[data-key="${focus}"]`)?.focus({ preventScroll: true });
  }

  /* What is on the screen stays where it is, whatever becomes longer or shorter above it. */
  keeping(change) {
    const top = (key) => this.sections.get(key).getBoundingClientRect().top;
    const seen = [...this.drawn].find((key) => this.sections.get(key).getBoundingClientRect().bottom > 120);
    const before = seen && top(seen);
    change();
    if (seen && top(seen) !== before && scrollY > 0) scrollBy(0, top(seen) - before);
  }

  redraw() {
    this.keeping(() => {
      this.drawSentence();
      for (const key of [...this.drawn]) {
        if (this.near.has(key)) this.draw(key);
        else this.drawn.delete(key);
      }
    });
  }

  use(pass) {
    const last = this.place.position === this.pass.pieces.length - 1;
    this.pass = pass;
    this.place = this.fit({ ...this.place, ...(last ? { position: pass.pieces.length - 1 } : {}) });
    this.redraw();
    this.onplace(this.place);
  }

  choose(change) {
    const place = this.fit({ ...this.place, ...change });
    if (JSON.stringify(place) === JSON.stringify(this.place)) return;
    this.place = place;
    this.drawSentence();
    this.onplace(place);
    /* The sentence answers at once; what is near follows, a step at a time, so that a key or click
       between is heard. */
    for (const key of this.drawn) if (!this.near.has(key)) this.drawn.delete(key);
    for (const key of this.drawn) this.stale.add(key);
    this.follow();
  }

  follow() {
    this.following ??= afterPaint(() => {
      this.following = null;
      const [key] = this.stale;
      if (!key || !this.sentence.isConnected) return;
      this.keeping(() => this.draw(key));
      this.follow();
    });
  }

  /* The text, as tokens, always in sight: one of them is followed. */
  drawSentence() {
    const { pass, place } = this;
    const { n_layer, n_head, n_ctx } = pass.hparams;
    const focus = this.sentence.contains(document.activeElement) ? focused() : null;
    const chips = pass.pieces.map(({ shown }, i) =>
      make("button", {
        type: "button",
        className: "chip",
        textContent: shown,
        "aria-pressed": String(i === place.position),
        tabIndex: i === place.position ? 0 : -1,
        "data-key": `token ${i}`,
        title: `position ${pass.first + i}`,
        onclick: () => this.choose({ position: i }),
      }),
    );
    const after = pass.total - pass.first - pass.pieces.length;
    const strip = make(
      "div",
      { className: "chips", role: "group", "aria-label": "The text, as tokens: choose the one to follow" },
      this.beyond(pass.first, `… ${pass.first}`, "earlier", Math.max(pass.pieces.length - 1, pass.first + KEPT - 1)),
      ...chips,
      this.beyond(after, `${after} …`, "later", Math.min(pass.total - 1, pass.total - 1 - after + pass.pieces.length - KEPT)),
      ...pass.left.map(({ shown }) => make("span", { className: "chip out", textContent: shown })),
    );
    strip.onkeydown = (event) => {
      const to = { ArrowLeft: place.position - 1, ArrowRight: place.position + 1, Home: 0, End: chips.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const at = Math.max(0, Math.min(chips.length - 1, to));
      this.choose({ position: at });
      this.sentence.querySelector(`[data-key="token ${at}"]`).focus();
    };
    const count = make("span", {
      className: "count",
      textContent: `${pass.total.toLocaleString("en")} of ${n_ctx.toLocaleString("en")}`,
    });
    if (!this.sentence.firstChild) {
      this.strips = make("div", { className: "strips" });
      this.opened = make("div", { className: "opened" });
      this.sentence.append(...[this.type && this.makeBox(), this.opened, this.strips].filter(Boolean));
    }
    this.opened.replaceChildren(this.chooser("layer", n_layer), this.chooser("head", n_head));
    this.strips.replaceChildren(strip, count);
    const followed = chips[place.position];
    if (followed) strip.scrollLeft = followed.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
    if (focus) this.sentence.querySelector(`[data-key="${focus}"]`)?.focus({ preventScroll: true });
  }

  /* n tokens that this pass has no rows of: a way to them, where there is one. */
  beyond(n, text, which, end) {
    if (!n) return "";
    const about = { className: "chip gone", textContent: text, "data-key": which };
    if (!this.turn) return make("span", { ...about, title: `${which} tokens, not in this file` });
    return make("button", { type: "button", ...about, title: `Show ${which} tokens`, onclick: () => this.turn(end) });
  }

  makeBox() {
    const input = make("input", { type: "text", value: this.pass.text, autocomplete: "off", spellcheck: false, "data-key": "text" });
    input.oninput = () => this.type(input.value);
    this.input = input;
    return make("label", { className: "text-box" }, make("span", { textContent: "Type another text" }), input);
  }

  chooser(what, n) {
    const names = [...Array(n).keys()].map(String);
    if (n > FEW) {
      const [field, box] = select(what, names, (i) => this.choose({ [what]: i }));
      box.selectedIndex = this.place[what];
      box.dataset.key = what;
      return field;
    }
    const group = choice(what, names, (i) => this.choose({ [what]: i }), this.place[what]);
    group.querySelectorAll("button").forEach((button, i) => (button.dataset.key = `${what} ${i}`));
    return group;
  }

  /* The residual stream as a line down the side: each step that adds to it joins it there. */
  makeMap() {
    const links = STEPS.map((step, i) =>
      make(
        "li",
        { className: ADDS[step.key] ? "adds" : "", "data-role": ADDS[step.key] },
        make(
          "a",
          { href: `#step-${step.key}`, "data-step": step.key },
          make("span", { className: "dot", "aria-hidden": "true" }),
          make("span", { textContent: `${i + 1} ${step.name}` }),
        ),
      ),
    );
    return make("nav", { className: "map", "aria-label": "You are here" }, make("ol", {}, ...links));
  }

  watch() {
    const seen = new Map();
    const observer = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) seen.set(entry.target.getAttribute("data-step"), entry.isIntersecting);
        const here = STEPS.find((step) => seen.get(step.key));
        if (!here) return;
        this.step = here.key;
        for (const link of this.map.querySelectorAll("a")) {
          if (link.getAttribute("data-step") === here.key) link.setAttribute("aria-current", "step");
          else link.removeAttribute("aria-current");
        }
        this.reveal(this.map.querySelector("[aria-current]"));
      },
      { rootMargin: "-30% 0px -60% 0px" },
    );
    for (const section of this.sections.values()) observer.observe(section);
    return observer;
  }

  /* On a phone the map is a strip: the place where we are stays in sight. */
  reveal(link) {
    const strip = this.map.firstChild;
    if (strip.scrollWidth > strip.clientWidth)
      strip.scrollLeft = link.parentElement.offsetLeft - strip.clientWidth / 2 + link.offsetWidth / 2;
  }
}

const ADDS = { embeddings: "residual", output: "attention", mlp: "mlp", prediction: "prediction" };
