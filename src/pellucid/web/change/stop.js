/* A breakpoint: the pass is run as far as a named value, with the changes so far; its numbers are
   looked at and edited, and go on as a change of their own. */

import { paint, step } from "../picture/colour.js";
import { largest, make, select } from "../picture/elements.js";
import { headName, quoted, visible, written } from "../picture/notation.js";
import { hasHeads, inLayer, VALUES } from "./changes.js";

/** @typedef {import("./changes.js").Stop} Stop */

const SHOWN = 48; /* numbers that are edited at a time */
const MOST_LOGITS = 8192; /* of a vocabulary whose logits are edited: all of them go to the server */

export class Breakpoint {
  /* hparams: of the model. choose(stop): stop there, or nowhere. goOn(change) */
  constructor(api, hparams, choose, goOn) {
    this.api = api;
    this.goOn = goOn;
    this.choose = choose;
    this.stopping = null;
    this.tokens = [];
    const names = Object.keys(VALUES).filter((name) => name !== "logits" || hparams.n_vocab <= MOST_LOGITS);
    const several = (name, n) => Array.from({ length: n }, (_, i) => `${name}${i}`);
    const field = (text, options) => {
      const [row, box] = select(text, options, () => this.fit());
      return { row, box };
    };
    this.name = field("Value", names);
    this.name.box.selectedIndex = names.indexOf("attn.z");
    this.layer = field("Layer", several("L", hparams.n_layer));
    this.head = field("Head", several("H", hparams.n_head));
    this.place = field("At", ["0"]);
    this.names = names;
    const form = make(
      "form",
      { className: "change-form" },
      ...[this.name, this.layer, this.head, this.place].map(({ row }) => row),
      make("button", { type: "submit", className: "option", textContent: "Stop there" }),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      choose(this.asked());
    };
    this.stage = make("div", {
      className: "stopped",
      role: "region",
      "aria-label": "The value where the pass stopped",
      "aria-live": "polite",
    });
    this.element = make("div", { className: "breakpoint" }, form, this.stage);
    this.fit();
  }

  fit() {
    const name = this.names[this.name.box.selectedIndex];
    this.layer.row.hidden = !inLayer(name);
    this.head.row.hidden = !hasHeads(name);
  }

  /** @returns {Stop} */
  asked() {
    const of = ({ row, box }) => (row.hidden ? null : box.selectedIndex);
    return {
      name: this.names[this.name.box.selectedIndex],
      layer: of(this.layer),
      head: of(this.head),
      position: this.place.box.selectedIndex,
    };
  }

  /* The pass as far as `stop`, or none. */
  async update(/** @type {Stop | null} */ stop, ids, tokens, changes) {
    this.stopping?.abort();
    const at = stop ? stop.position : this.place.box.selectedIndex;
    const last = tokens === this.tokens || stop ? at : tokens.length - 1;
    this.place.box.replaceChildren(...tokens.map((text, i) => make("option", { textContent: `${i} ${visible(text)}` })));
    this.place.box.selectedIndex = Math.max(0, Math.min(last, tokens.length - 1));
    this.tokens = tokens;
    if (!stop || stop.position >= tokens.length) {
      this.stage.replaceChildren();
      this.stage.removeAttribute("aria-busy");
      return;
    }
    this.name.box.selectedIndex = this.names.indexOf(stop.name);
    if (stop.layer !== null) this.layer.box.selectedIndex = stop.layer;
    if (stop.head !== null) this.head.box.selectedIndex = stop.head;
    this.fit();
    const stopping = (this.stopping = new AbortController());
    this.stage.setAttribute("aria-busy", "true");
    try {
      const value = await this.read(stop, ids, changes, stopping.signal);
      if (!stopping.signal.aborted) this.show(stop, value);
    } catch (error) {
      if (!stopping.signal.aborted) this.stage.replaceChildren(make("p", { className: "note", textContent: error.message }));
    } finally {
      if (stopping === this.stopping) this.stage.removeAttribute("aria-busy");
    }
  }

  async read({ name, layer, head, position }, ids, changes, signal) {
    const full = layer === null ? name : `blocks.${layer}.${name}`;
    /* Nothing after the position is needed, and no changes there can be felt. */
    const trace = { names: [full], positions: [position], ...(head === null ? {} : { heads: [head] }) };
    const body = {
      prompt: ids.slice(0, position + 1),
      max_tokens: 1,
      temperature: 0,
      pellucid: { trace, interventions: changes },
    };
    const { choices } = await this.api.post("v1/completions", body, signal);
    const { id } = choices[0].pellucid.trace;
    const found = await this.api.get(`v1/inspect/traces/${id}/values?name=${full}`, signal);
    this.api.delete(`v1/inspect/traces/${id}`).catch(() => {});
    let row = found.values;
    while (Array.isArray(row[0])) row = row[0];
    return row;
  }

  show(/** @type {Stop} */ stop, before) {
    const values = [...before];
    const pairs = VALUES[stop.name].endsWith("key");
    const high = largest(before) || 1;
    const facts = make("p", { className: "caption" });
    const cells = make("div", { className: "edited-values" });
    const goOn = make("button", { type: "button", className: "option main-option", textContent: "Go on with this" });
    goOn.onclick = () => {
      const where = Object.fromEntries(
        Object.entries({ layer: stop.layer, head: stop.head, position: stop.position }).filter(([, place]) => place !== null),
      );
      this.goOn({ name: stop.name, ...where, ...made() });
    };
    /* What was done, not what was seen: an address stays short. */
    const made = () => {
      if (factor === 0) return { op: "suppress" };
      if (factor !== null && factor !== 1) return { op: "scale", value: factor };
      return { op: "set", edits: Object.fromEntries([...values.entries()].filter(([i, value]) => value !== before[i])) };
    };
    let factor = 1; /* of all of them; null where they were edited one by one */
    let first = 0;
    const tell = () => {
      const edited = values.filter((value, i) => value !== before[i]).length;
      facts.textContent = `${values.length} number${values.length === 1 ? "" : "s"}, length ${written(Math.hypot(...values))}; ${edited} edited.`;
      goOn.disabled = !edited;
    };
    const draw = () => {
      const shown = values.slice(first, first + SHOWN);
      cells.replaceChildren(
        ...shown.map((_, j) => {
          const i = first + j;
          const name = pairs ? visible(this.tokens[i] ?? "") : String(i);
          const box = make("input", { type: "number", step: "any", "aria-label": `${stop.name} ${pairs ? `of the key ${i} ${name}` : i}` });
          const write = () => {
            box.value = String(Number(values[i].toPrecision(4)));
            box.dataset.value = String(values[i]);
            box.classList.toggle("edited", values[i] !== before[i]);
            paint(box, step(values[i], "diverging", high), "diverging");
          };
          box.oninput = () => {
            const typed = Number(box.value);
            if (box.value === "" || !Number.isFinite(typed)) return;
            values[i] = typed;
            factor = null;
            box.dataset.value = String(typed);
            box.classList.toggle("edited", typed !== before[i]);
            paint(box, step(typed, "diverging", high), "diverging");
            tell();
          };
          write();
          return make("label", {}, make("small", { textContent: name }), box);
        }),
      );
      tell();
    };
    const all = (text, by) =>
      make("button", {
        type: "button",
        className: "option",
        textContent: text,
        onclick: () => {
          values.forEach((value, i) => (values[i] = by === null ? before[i] : value * by));
          factor = by === null ? 1 : factor === null ? null : factor * by;
          draw();
        },
      });
    const turn = (text, by) =>
      make("button", {
        type: "button",
        className: "option",
        textContent: text,
        onclick: () => {
          if (first + by < 0 || first + by >= values.length) return;
          first += by;
          draw();
        },
      });
    const place = stop.layer === null ? "" : stop.head === null ? ` of L${stop.layer}` : ` of ${headName(stop.layer, stop.head)}`;
    const title = `${stop.name}${place} at ${quoted(this.tokens[stop.position])}, position ${stop.position}`;
    this.stage.replaceChildren(
      make("h3", { textContent: `Stopped: ${title}` }),
      facts,
      cells,
      make(
        "div",
        { className: "stop-foot" },
        ...(values.length > SHOWN ? [turn("← earlier", -SHOWN), turn("later →", SHOWN)] : []),
        all("all × 0", 0),
        all("all × ½", 0.5),
        all("all × −1", -1),
        all("as it was", null),
        goOn,
        make("button", { type: "button", className: "option", textContent: "Leave it", onclick: () => this.choose(null) }),
      ),
    );
    draw();
  }

  close() {
    this.stopping?.abort();
  }
}
