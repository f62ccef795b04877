/* The parts of the model as switches, the changes as chips, and a form for every other change. */

import { arrows, make, select } from "../picture/elements.js";
import { headName, visible } from "../picture/notation.js";
import { hasHeads, inLayer, label, samePlace, VALUES } from "./changes.js";

/** @typedef {import("./changes.js").Change} Change */

export class Tray {
  /* hparams: of the model. set(changes): another list of changes. */
  constructor(hparams, set) {
    this.hparams = hparams;
    this.set = set;
    /** @type {Change[]} */
    this.changes = [];
    this.tokens = [];
    this.cells = new Map();
    this.row = this.column = 0;
    this.strip = make("div", {
      className: "strip change-text",
      role: "group",
      "aria-label": "The text's tokens: press one to switch it off",
    });
    this.list = make("ul", { className: "change-chips", "aria-label": "Changes" });
    this.parts = this.grid();
    this.form = new Form(hparams, (change) => this.add(change));
    this.element = make("div", { className: "tray" }, this.parts, this.form.element);
  }

  /* Each part of the model that can be switched off, a row a layer. */
  grid() {
    const { n_layer, n_head } = this.hparams;
    const names = [...Array(n_head).keys()].map((head) => `H${head}`);
    const grid = make("div", { className: "parts", role: "group", "aria-label": "Parts of the model: press one to switch it off" });
    grid.style.setProperty("--parts", String(n_head));
    grid.append(make("span"), ...[...names, "MLP"].map((name) => make("span", { className: "axis", textContent: name })));
    for (let layer = 0; layer < n_layer; layer++) {
      grid.append(make("span", { className: "axis", textContent: `L${layer}` }));
      for (let column = 0; column <= n_head; column++) {
        const change = column < n_head ? { name: "attn.z", layer, head: column } : { name: "mlp_out", layer };
        const name = column < n_head ? headName(layer, column) : `MLP ${layer}`;
        const cell = make("button", { type: "button", className: "part", "data-part": name, tabIndex: -1 });
        cell.onclick = () => {
          this.reach(layer, column);
          this.toggle(change);
        };
        cell.onfocus = () => this.reach(layer, column);
        this.cells.set(`${layer},${column}`, { cell, change, name });
        grid.append(cell);
      }
    }
    arrows(
      grid,
      () => [n_layer, n_head + 1],
      () => [this.row, this.column],
      (row, column) => this.cells.get(`${row},${column}`).cell.focus(),
    );
    return make("div", { className: "scroll" }, grid);
  }

  reach(row, column) {
    this.cells.get(`${this.row},${this.column}`).cell.tabIndex = -1;
    this.row = row;
    this.column = column;
    this.cells.get(`${row},${column}`).cell.tabIndex = 0;
  }

  /* The head or MLP that the keyboard is at, or the address names. */
  get here() {
    return this.cells.get(`${this.row},${this.column}`).change;
  }

  toggle(change) {
    const own = { ...change, op: "suppress" };
    const without = this.changes.filter((each) => !samePlace(each, own));
    this.set(without.length < this.changes.length ? without : [...this.changes, own]);
  }

  add(change) {
    this.set([...this.changes, change]);
  }

  /* What is on the screen: tokens of the text (as they are), and the changes. */
  update(tokens, changes) {
    this.changes = changes;
    this.form.update(tokens);
    for (const { cell, change, name } of this.cells.values()) {
      const own = changes.filter((each) => samePlace(each, change));
      const words = own.map((each) => label(each).slice(name.length + 1)).join(", ");
      cell.textContent = words || "·";
      cell.setAttribute("aria-pressed", String(own.length > 0));
      cell.setAttribute("aria-label", `${name}: ${words || "on"}`);
    }
    this.reach(this.row, this.column);
    const own = (i) => changes.filter((each) => samePlace(each, { name: "embed", position: i }));
    const off = (i) => own(i).some(({ op }) => op === "suppress");
    const focused = tokens === this.tokens ? [...this.strip.children].indexOf(document.activeElement) : -1;
    this.tokens = tokens;
    this.strip.replaceChildren(
      ...tokens.map((text, i) =>
        make("button", {
          type: "button",
          className: own(i).length ? "token change-token touched" : "token change-token",
          textContent: visible(text),
          "aria-pressed": String(off(i)),
          "aria-label": `${visible(text)}, position ${i}: ${off(i) ? "off" : "on"}`,
          onclick: () => this.toggle({ name: "embed", position: i }),
        }),
      ),
    );
    if (focused < 0) requestAnimationFrame(() => (this.strip.scrollTop = this.strip.scrollHeight));
    if (focused >= 0) /** @type {HTMLElement} */ (this.strip.children[focused]).focus();
    this.list.replaceChildren(
      ...changes.map((each, i) => {
        const words = label(each);
        const remove = make("button", { type: "button", className: "remove", textContent: "×", "aria-label": `Take back: ${words}` });
        remove.onclick = () => this.set(changes.filter((_, j) => j !== i));
        return make("li", { "data-op": each.op }, make("span", { textContent: words }), remove);
      }),
      ...(changes.length ? [] : [make("li", { className: "none", textContent: "no change yet" })]),
    );
  }
}

const WHAT = { "attn.z": "a head", mlp_out: "an MLP", attn_out: "an attention", embed: "a token" };
const DO = { suppress: "off", scale: "times", add: "plus", set: "equals", patch: "from another text", direction: "towards" };
const NUMBER = new Set(["scale", "add", "set"]);

/* One change of any kind: what, where, and what becomes of it. */
class Form {
  constructor(hparams, add) {
    const { n_layer, n_head } = hparams;
    const others = Object.keys(VALUES).filter((name) => !WHAT[name] && name !== "logits");
    this.names = [...Object.keys(WHAT), ...others];
    const several = (name, n) => Array.from({ length: n }, (_, i) => `${name}${i}`);
    const field = (text, options) => {
      const [row, box] = select(text, options, () => this.fit());
      return { row, box };
    };
    this.what = field("What", [...Object.values(WHAT), ...others]);
    this.layer = field("Layer", ["all", ...several("L", n_layer)]);
    this.head = field("Head", ["all", ...several("H", n_head)]);
    this.place = field("At", ["all"]);
    this.op = field("Becomes", Object.values(DO));
    this.op.box.selectedIndex = 1;
    this.value = input("By", { type: "number", value: "0.5", step: "any" });
    this.source = input("Text", { type: "text", placeholder: "The queen went home to" });
    this.towards = input("Towards", { type: "text", placeholder: "happy" });
    this.away = input("Away from", { type: "text", placeholder: "sad" });
    const form = make(
      "form",
      { className: "change-form" },
      ...[this.what, this.layer, this.head, this.place, this.op, this.value, this.source, this.towards, this.away].map(({ row }) => row),
      make("button", { type: "submit", className: "option", textContent: "Change it" }),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      add(this.change());
    };
    this.element = make(
      "details",
      { className: "more-changes" },
      make("summary", { textContent: "Another change: scale, patch, add …" }),
      form,
    );
    this.fit();
  }

  update(tokens) {
    const at = this.place.box.selectedIndex;
    this.place.box.replaceChildren(
      ...["all", ...tokens.map((text, i) => `${i} ${visible(text)}`)].map((text) => make("option", { textContent: text })),
    );
    this.place.box.selectedIndex = Math.min(at, tokens.length);
  }

  get chosen() {
    return Object.keys(DO)[this.op.box.selectedIndex];
  }

  /* Only the fields that mean something here. */
  fit() {
    const name = this.names[this.what.box.selectedIndex];
    const op = this.chosen;
    const direction = op === "direction";
    this.what.row.hidden = direction;
    this.layer.row.hidden = !direction && !inLayer(name);
    this.head.row.hidden = direction || !hasHeads(name);
    this.value.row.hidden = !NUMBER.has(op);
    this.source.row.hidden = op !== "patch";
    this.towards.row.hidden = this.away.row.hidden = !direction;
    this.value.box.required = NUMBER.has(op);
    this.source.box.required = op === "patch";
    this.towards.box.required = this.away.box.required = direction;
  }

  /** @returns {Change} */
  change() {
    const op = this.chosen;
    const name = op === "direction" ? "resid_pre" : this.names[this.what.box.selectedIndex];
    /** @type {Change} */
    const change = { name, op: op === "direction" ? "add" : op };
    for (const [key, { row, box }] of Object.entries({ layer: this.layer, head: this.head, position: this.place })) {
      if (!row.hidden && box.selectedIndex > 0) change[key] = box.selectedIndex - 1;
    }
    if (NUMBER.has(op)) change.value = Number(this.value.box.value);
    if (op === "patch") change.source = this.source.box.value;
    if (op === "direction") change.value = { towards: within(this.towards.box.value), away: within(this.away.box.value) };
    return change;
  }
}

/* As a word stands within a text. */
function within(text) {
  return /^\w/.test(text) ? ` ${text}` : text;
}

function input(name, properties) {
  const box = make("input", properties);
  return { row: make("label", { className: "field" }, make("span", { textContent: name }), box), box };
}
