/* A step's board: its matrices by their symbols, the formula whose symbols light them up, and the
   line on which the cell that is pointed at is worked out. */

import { make } from "../picture/elements.js";
import { copier, exact } from "./writing.js";

export class Board {
  constructor(pass) {
    this.pass = pass;
    this.matrices = new Map();
    this.symbols = new Map();
    this.here = null;
    this.line = make("output", { className: "worked", "aria-live": "polite" });
    this.about = make("p", { className: "worked-about" });
    this.copy = copier("copy", () => this.text(), "this number and what it is");
    this.element = make("div", { className: "workline" }, this.line, make("div", { className: "worked-foot" }, this.about, this.copy));
    this.hint("Point at a cell, or walk the cells with Tab and the arrow keys: it is worked out here.");
  }

  hint(text) {
    this.line.textContent = text;
    this.line.classList.add("hint");
    this.about.textContent = "";
    this.copy.hidden = true;
  }

  /* parts: texts, and {symbol, text, role} for what names a matrix. */
  formula(parts) {
    const element = make("p", { className: "formula live" });
    for (const part of parts) {
      if (typeof part === "string") {
        element.append(part);
        continue;
      }
      const button = make("button", { type: "button", className: "symbol", textContent: part.text ?? part.symbol, "data-role": part.role });
      button.onmouseenter = button.onfocus = () => this.light(part.symbol);
      button.onmouseleave = button.onblur = () => this.light(null);
      button.onclick = () => this.matrices.get(part.symbol)?.figure.scrollIntoView({ block: "nearest", behavior: "auto" });
      this.symbols.set(part.symbol, [...(this.symbols.get(part.symbol) ?? []), button]);
      element.append(button);
    }
    return element;
  }

  add(symbol, matrix) {
    this.matrices.set(symbol, matrix);
  }

  /* The matrix of this name and its symbol in the formula, alone; null: none. */
  light(symbol) {
    for (const [name, { figure }] of this.matrices) figure.classList.toggle("lit", name === symbol);
    for (const [name, buttons] of this.symbols) for (const button of buttons) button.classList.toggle("lit", name === symbol);
  }

  /* A cell is looked at: its operands light up, and its product is worked out. */
  point(spec, i, j) {
    this.clear();
    const value = spec.values.at(i, j);
    const { text, from = [] } = spec.work ? spec.work(i, j) : { text: "" };
    this.here = { spec, i, j, value };
    this.line.classList.remove("hint");
    this.line.textContent = text
      ? `${spec.symbol}[${i}, ${j}] = ${text} = ${spec.form ? spec.form(value) : exact(value)}`
      : `${spec.symbol}[${i}, ${j}] = ${exact(value)}`;
    this.line.dataset.value = String(value);
    this.line.dataset.name = spec.name;
    this.about.textContent = this.what(spec, i, j);
    this.copy.hidden = false;
    this.matrices.get(spec.symbol)?.mark(i, j, "here");
    for (const [symbol, row, column] of from) this.matrices.get(symbol)?.mark(row, column, "operand");
    for (const button of this.symbols.get(spec.symbol) ?? []) button.classList.add("lit");
  }

  clear() {
    for (const { unmark } of this.matrices.values()) unmark();
    for (const buttons of this.symbols.values()) for (const button of buttons) button.classList.remove("lit");
  }

  what(spec, i, j) {
    const place = [spec.name];
    if (spec.layer !== undefined) place.push(`layer ${spec.layer}`);
    if (spec.head !== undefined) place.push(`head ${spec.head}`);
    if (spec.positions !== false) place.push(`position ${this.pass.first + i} “${this.pass.pieces[i]?.shown ?? ""}”`);
    else place.push(`row ${spec.rows[i]}`);
    place.push(`${spec.across ?? "number"} ${spec.columns ? spec.columns[j] : j}`, spec.kind);
    return place.join(" · ");
  }

  text() {
    const { spec, i, j, value } = this.here;
    return `${Number(value.toPrecision(9))}\t${this.pass.model} · ${this.what(spec, i, j)}`;
  }
}
