/* Dialogs: something shown, something asked. */

import { make } from "../picture/elements.js";

/* → the element, open; onclose(returnValue) */
export function dialog(title, content, onclose = (_) => {}) {
  const heading = make("h2", { textContent: title, id: "dialog-title" });
  const close = make("button", { type: "button", className: "plain close", textContent: "×", "aria-label": "Close" });
  const element = make("dialog", { "aria-labelledby": "dialog-title" }, make("div", { className: "dialog-head" }, heading, close), content);
  close.onclick = () => element.close();
  element.onclose = () => {
    element.remove();
    onclose(element.returnValue);
  };
  element.onclick = (event) => {
    if (event.target === element) element.close();
  };
  document.body.append(element);
  element.showModal();
  return element;
}

/* → a promise of { name: value } of the fields, or null. fields: { name, label, type, value, min, max,
   step, hint }; type may be "area" and "checkbox". */
export function ask(title, fields, accept, { note = "", grave = false } = {}) {
  return new Promise((resolve) => {
    const boxes = fields.map((field) => [field, box(field)]);
    const rows = boxes.map(([field, element]) =>
      make(
        "label",
        { className: `asked ${field.type ?? "text"}` },
        make("span", { textContent: field.label }),
        element,
        field.hint ? make("small", { textContent: field.hint }) : null,
      ),
    );
    const form = make(
      "form",
      { method: "dialog" },
      note ? make("p", { className: "dialog-note", textContent: note }) : null,
      ...rows,
      make(
        "div",
        { className: "dialog-foot" },
        make("button", { className: grave ? "main grave" : "main", value: "yes", textContent: accept }),
      ),
    );
    const element = dialog(title, form, (value) =>
      resolve(
        value === "yes"
          ? Object.fromEntries(boxes.map(([{ name, type }, element]) => [name, type === "checkbox" ? element.checked : element.value]))
          : null,
      ),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      element.close("yes");
    };
  });
}

function box({ type = "text", value = "", min, max, step, hint }) {
  if (type === "area") return make("textarea", { value, rows: 4 });
  if (type === "checkbox") return make("input", { type, checked: Boolean(value) });
  return make("input", { type, value, min, max, step, placeholder: hint ? "" : null, autocomplete: "off" });
}
