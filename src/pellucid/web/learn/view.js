/* How it learned: one slider over the moments of a training. Below it the loss, what it would have
   said, where a head looked, and the embeddings on their way, all of the moment that is chosen. */

import { drawn, painter, step as placeOf } from "../picture/colour.js";
import { make, readout, select } from "../picture/elements.js";
import { counted, headName, written } from "../picture/notation.js";
import { numbers } from "../picture/numbers.js";
import { foundAt, LiveMoments, mostAt, ToldMoments } from "./moments.js";
import { LossCurve, Plane } from "./svg.js";

const PACE = 420; /* ms between two moments that are played */
const MOST_WRITTEN = 12; /* tokens: beyond that, colours alone */

function pairs({ steps, losses }) {
  const [at, loss] = [numbers(steps).flat, numbers(losses).flat];
  return Array.from(at, (step, i) => [step, loss[i]]);
}

function panel(className, title, ...content) {
  return make("section", { className: `learned-panel ${className}`, "data-drawn": "" }, make("h2", { textContent: title }), ...content);
}

/** @typedef {{ text?: string | null, layer?: number | null, head?: number | null, step?: number | null }} Place */

export class Learned {
  /* data: as history/page.py writes it. place: {text, layer, head, step}, what to open of it.
     onplace(place): whenever that changes. */
  /** @param {{ host: HTMLElement, data: any, place?: Place, onplace?: (place: Place) => void }} options */
  constructor({ host, data, place = {}, onplace = (_) => {} }) {
    this.host = host;
    this.onplace = onplace;
    this.timer = 0;
    this.at = 0;
    this.text = place.text ?? null;
    this.layer = place.layer ?? data.layer;
    this.head = place.head ?? data.head;
    this.chosen = (place.layer ?? place.head ?? null) !== null; /* by a person, who keeps that head */
    this.build(data);
    this.use(data, place.step ?? null);
  }

  build(data) {
    const live = data.machine !== null;
    this.said = make("p", { className: "learned-said", "aria-live": "polite" });
    this.state = make("p", { className: "learned-state" });
    this.range = make("input", { type: "range", min: 0, max: 1, step: 1, "aria-label": "Moment of the training" });
    this.range.oninput = () => (this.show(Number(this.range.value)), this.pause());
    this.step = make("output", { className: "learned-step" });
    this.button = make("button", { type: "button", className: "option learned-play", onclick: () => this.toggle() });
    this.input = make("input", { type: "text", value: "", spellcheck: false, autocomplete: "off", "aria-label": "The text" });
    this.input.oninput = () => this.type(this.input.value);
    this.note = make("p", { className: "learned-note" });
    this.chips = make("div", { className: "chips", role: "group", "aria-label": "The text, as tokens", tabIndex: 0 });
    const text = live ? make("label", { className: "text-box" }, make("span", { textContent: "Text" }), this.input) : null;
    const bar = make(
      "div",
      { className: "learned-bar" },
      make("div", { className: "learned-text" }, text, this.chips),
      make("div", { className: "timeline" }, this.button, this.range, this.step),
      this.said,
    );

    this.curve = new LossCurve({ ...data, choose: (step) => (this.show(this.nearest(step)), this.pause()) });
    this.lossLine = readout();
    this.nextList = make("ul", { className: "bars learned-next" });
    this.nextLine = readout();
    this.pattern = make("div", { className: "learned-scroll" });
    this.patternLine = readout();
    this.heads = make("div", { className: "learned-heads" });
    this.planeHost = make("div", { className: "plane-host" });
    this.planeLine = readout();
    this.lossCaption = make("p", { className: "caption" });
    this.host.append(
      bar,
      this.note,
      this.state,
      make(
        "div",
        { className: "learned-grid" },
        panel("of-next", "What it would say next", this.nextList, make("div", { className: "foot" }, this.nextLine)),
        panel("of-head", "Where a head looks", this.heads, this.pattern, make("div", { className: "foot" }, this.patternLine)),
        panel("of-loss", "The loss", this.lossCaption, this.curve.host, make("div", { className: "foot" }, this.lossLine)),
        panel("of-plane", "The embeddings", this.planeHost, make("div", { className: "foot" }, this.planeLine)),
      ),
    );
    this.forget = drawn(() => this.moments && this.show(this.at));
  }

  /* Another state of the same training, or the first. step: the one to open; null: the last, or
     where one was. */
  use(data, step = null) {
    const following = !this.data || this.at === this.data.steps.length - 1;
    const before = this.data?.steps[this.at];
    this.data = data;
    if (!this.chosen) [this.layer, this.head] = [data.layer, data.head];
    this.range.max = data.steps.length - 1;
    this.heldOut = pairs(data.held_out);
    this.curve.use(pairs(data.curve), this.heldOut);
    const unit =
      data.unit === "nats/token" ? "How surprised it is by each token that it learns from" : `On what it learns from, in ${data.unit}`;
    const rings = this.heldOut.length ? " Rings: on what was held out." : "";
    this.lossCaption.textContent = `${unit}. Lower is better; the steps stand wider at the beginning.${rings}`;
    this.drawPlane();
    this.read(this.text ?? data.text);
    if (document.activeElement !== this.input) this.input.value = this.moments.text;
    if (step !== null) this.show(this.nearest(step));
    else this.show(following ? data.steps.length - 1 : this.nearest(before));
  }

  /* The text, through every moment. */
  read(text) {
    const { data } = this;
    const own = text === data.text ? data.ids : null;
    this.moments = data.machine ? new LiveMoments(data, text, own) : new ToldMoments(data);
    this.found = foundAt(this.moments);
    this.note.textContent = this.moments.note;
    this.chips.replaceChildren(...this.moments.tokens.map((shown) => make("span", { className: "chip", textContent: shown })));
    this.drawNext();
    this.drawHeads();
    this.drawPattern();
    const ids = new Set(this.moments.ids);
    this.plane.use(data.plane.ids.flatMap((id, place) => (ids.has(id) ? [place] : [])));
  }

  type(text) {
    this.text = text;
    this.read(text);
    this.show(this.at);
    this.tell();
  }

  /* What an address names; what it does not name stays. */
  open({ text = null, layer = null, head = null, step = null }) {
    if (text !== null && text !== this.moments.text && this.data.machine) {
      this.text = this.input.value = text;
      this.read(text);
    }
    if (this.moments.heads.some((each) => each[0] === layer && each[1] === head))
      [this.layer, this.head, this.chosen] = [layer, head, true];
    this.drawHeads();
    this.show(step === null ? this.at : this.nearest(step));
  }

  tell() {
    this.onplace({ text: this.text, layer: this.layer, head: this.head, step: this.data.steps[this.at] });
  }

  nearest(step) {
    const far = (i) => Math.abs(Math.log(1 + this.data.steps[i]) - Math.log(1 + step));
    return this.data.steps.reduce((best, _, i) => (far(i) < far(best) ? i : best), 0);
  }

  /* What is drawn once for a text */

  drawNext() {
    const row = () => {
      const parts = {
        label: make("span", { className: "label token plain" }),
        bar: make("span", { className: "bar" }),
        number: make("span", { className: "number" }),
      };
      return { ...parts, element: make("li", {}, parts.label, make("span", { className: "track" }, parts.bar), parts.number) };
    };
    this.nextRows = [...this.moments.next(0).map(row), row()];
    this.nextList.replaceChildren(...this.nextRows.map(({ element }) => element));
  }

  drawHeads() {
    const { heads } = this.moments;
    if (!heads.some(([layer, head]) => layer === this.layer && head === this.head)) [this.layer, this.head] = heads[0];
    const [field, box] = select(
      "Head",
      heads.map(([layer, head]) => headName(layer, head)),
      (i) => {
        [this.layer, this.head] = heads[i];
        this.chosen = true;
        this.show(this.at);
        this.tell();
      },
    );
    box.selectedIndex = heads.findIndex(([layer, head]) => layer === this.layer && head === this.head);
    this.heads.replaceChildren(field);
  }

  drawPattern() {
    const { tokens } = this.moments;
    const small = tokens.length > MOST_WRITTEN ? " small" : "";
    const head = make("tr", {}, make("td"), ...tokens.map((shown) => make("th", { scope: "col" }, make("span", { textContent: shown }))));
    this.cells = tokens.map((_, query) =>
      tokens.map((_, key) => {
        const cell = make("td", { className: key > query ? "cell masked" : "cell" });
        cell.onpointerenter = () => key <= query && this.point(query, key);
        return cell;
      }),
    );
    const rows = this.cells.map((cells, query) => make("tr", {}, make("th", { scope: "row", textContent: tokens[query] }), ...cells));
    this.pattern.replaceChildren(
      make("table", { className: `learned-pattern${small}` }, make("thead", {}, head), make("tbody", {}, ...rows)),
    );
    this.pointed = null;
  }

  drawPlane() {
    const { plane } = this.data;
    const now = `${plane.ids} ${plane.points.base64 ?? plane.points}`;
    if (now === this.planeNow) return;
    this.planeNow = now;
    this.plane?.close();
    this.plane = new Plane({ words: plane.words, points: numbers(plane.points) });
    this.planeHost.replaceChildren(this.plane.host);
  }

  /* One moment */

  show(moment) {
    const { data, moments } = this;
    this.at = moment;
    const [step, loss] = [data.steps[moment], data.losses[moment]];
    const when = `step ${counted(step)} of ${counted(data.total)}`;
    this.range.value = String(moment);
    this.step.textContent = when;
    this.range.setAttribute("aria-valuetext", when);
    this.host.dataset.step = String(step);
    this.showNext(moment);
    this.showPattern(moment);
    this.curve.mark(step, loss);
    this.plane.show(moment);
    const own = moments.textLoss(moment);
    this.lossLine.dataset.loss = String(loss);
    this.lossLine.dataset.text = String(own);
    const whole = loss === null ? "Not measured at this step" : `After ${counted(step)} steps: ${written(loss)}`;
    this.lossLine.textContent = `${whole}.${own === null ? "" : ` Of this text: ${written(own)} nats a token.`}`;
    const share = data.plane.shares.reduce((sum, each) => sum + each, 0);
    this.planeLine.textContent = `${data.plane.ids.length} tokens in the plane in which they end farthest apart (${written(share, "percent")} of their variance); the text's in bold, with their way so far.`;
    this.said.textContent = this.words(moment);
    this.state.textContent = data.done ? data.note : `The run goes on: these are its moments up to step ${counted(data.steps.at(-1))}.`;
    this.drawButton();
  }

  words(moment) {
    const { moments } = this;
    const first = moments.first(moment);
    const says = `“${first.shown}” (${written(first.share, "percent")})`;
    if (this.data.steps[moment] === 0) return `Nothing is learned yet: its numbers are random, and so is its guess, ${says}.`;
    const last = moments.tokens.length - 1;
    const pattern = moments.pattern(moment, this.layer, this.head);
    const key = mostAt(pattern, last);
    const gives = written(pattern.at(last, key), "percent");
    return `It would say ${says}. ${headName(this.layer, this.head)} at “${moments.tokens[last]}” gives most, ${gives}, to “${moments.tokens[key]}”.`;
  }

  showNext(moment) {
    const { moments, data } = this;
    const listed = moments.next(moment);
    const first = moments.first(moment);
    const other = listed.some(({ id }) => id === first.id) ? null : first;
    this.nextRows.forEach(({ element, label, bar, number }, i) => {
      const one = listed[i] ?? other;
      element.classList.toggle("vacant", !one);
      element.classList.toggle("first", one?.id === first.id);
      element.dataset.id = String(one?.id ?? "");
      element.dataset.value = String(one?.share ?? "");
      label.textContent = one?.shown ?? "";
      bar.style.width = `${100 * (one?.share ?? 0)}%`;
      number.textContent = one ? written(one.share, "percent") : "";
    });
    const end = moments.first(moments.count - 1).shown;
    const from = counted(data.steps[this.found]);
    this.nextLine.textContent = this.found === 0 ? `“${end}” comes first at every moment.` : `“${end}” comes first from step ${from} on.`;
  }

  showPattern(moment) {
    const pattern = this.moments.pattern(moment, this.layer, this.head);
    const paint = painter("sequential");
    const few = this.moments.tokens.length <= MOST_WRITTEN;
    this.cells.forEach((cells, query) => {
      for (let key = 0; key <= query; key++) {
        const value = pattern.at(query, key);
        cells[key].dataset.value = String(value);
        paint(cells[key], placeOf(value, "sequential", 1));
        if (few) cells[key].textContent = String(Math.round(100 * value));
      }
    });
    const last = this.cells.length - 1;
    this.point(...(this.pointed ?? [last, mostAt(pattern, last)]), false);
  }

  point(query, key, keep = true) {
    if (keep) this.pointed = [query, key];
    const { tokens } = this.moments;
    const value = this.moments.pattern(this.at, this.layer, this.head).at(query, key);
    this.patternLine.textContent = `“${tokens[query]}” gives ${written(value, "percent")} of its attention to “${tokens[key]}”. Rows look, columns are looked at, in percent.`;
  }

  /* Playing */

  toggle() {
    if (this.timer) this.pause();
    else this.play();
  }

  play() {
    if (this.at === this.moments.count - 1) this.show(0);
    this.timer = setInterval(() => {
      if (this.at + 1 < this.moments.count) this.show(this.at + 1);
      if (this.at + 1 === this.moments.count) this.pause();
    }, PACE);
    this.said.setAttribute("aria-live", "off");
    this.drawButton();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = 0;
    this.said.setAttribute("aria-live", "polite");
    this.drawButton();
    this.tell();
  }

  drawButton() {
    this.button.textContent = this.timer ? "Pause" : "Play";
  }

  /* Whether the key meant something. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return false;
    if (event.target?.closest?.("input, select, textarea, button")) return false;
    const last = this.moments.count - 1;
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: last }[event.key];
    if (event.key === " ") this.toggle();
    else if (to === undefined) return false;
    else {
      this.show(Math.max(0, Math.min(last, to)));
      this.pause();
    }
    return true;
  }

  close() {
    clearInterval(this.timer);
    this.forget();
    this.curve.close();
    this.plane.close();
  }
}
