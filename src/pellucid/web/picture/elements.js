/* Elements, made without ever reading text as HTML. */

import { drawn, paint } from "./colour.js";
import { visible, written } from "./notation.js";

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/* Calls `draw` once, when the element comes near the screen. */
export function whenSeen(element, draw) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      draw();
    },
    { rootMargin: "300px" },
  );
  observer.observe(element);
}

/* Arrow keys, Home and End move through rows and columns; go(row, column) does the rest. */
export function arrows(element, extent, place, go) {
  element.addEventListener("keydown", (event) => {
    const [rows, columns] = extent();
    let [row, column] = place();
    if (event.key === "ArrowUp") row -= 1;
    else if (event.key === "ArrowDown") row += 1;
    else if (event.key === "ArrowLeft") column -= 1;
    else if (event.key === "ArrowRight") column += 1;
    else if (event.key === "Home") column = 0;
    else if (event.key === "End") column = columns - 1;
    else return;
    event.preventDefault();
    go(Math.max(0, Math.min(rows - 1, row)), Math.max(0, Math.min(columns - 1, column)));
  });
}

/* One of several, as buttons of which one is pressed. */
export function choice(label, names, choose, first = 0) {
  const buttons = names.map((name, i) =>
    make("button", { type: "button", className: "option", textContent: name, onclick: () => press(i) }),
  );
  function press(i) {
    buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
    choose(i);
  }
  const group = make("div", { className: "choice", role: "group", "aria-label": label }, make("span", { textContent: label }), ...buttons);
  press(first);
  return group;
}

export function select(label, names, change) {
  const box = make("select", { onchange: () => change(box.selectedIndex) }, ...names.map((name) => make("option", { textContent: name })));
  return [make("label", { className: "field" }, make("span", { textContent: label }), box), box];
}

/* The line below a picture that says in words and numbers what is pointed at. */
export function readout(hint = "") {
  return make("output", { className: "readout", "aria-live": "polite", textContent: hint });
}

export function say(line, text, value, ...at) {
  line.textContent = text;
  line.dataset.value = String(value);
  line.dataset.at = at.join(",");
}

export function caption(text) {
  return text ? make("p", { className: "caption", textContent: text }) : null;
}

export function legend(scale, high, form, root = false) {
  const ramp = make("canvas", { className: "ramp", width: 64, height: 1, "aria-hidden": "true" });
  drawn(() => {
    const context = ramp.getContext("2d");
    for (let i = 0; i < 64; i++) {
      const style = document.createElement("i");
      const share = i / 63;
      paint(style, Math.round(share * 255), scale);
      context.fillStyle = style.style.backgroundColor;
      context.fillRect(i, 0, 1, 1);
    }
  });
  const low = scale === "diverging" ? -high : 0;
  const note = root ? " (by square root)" : "";
  return make(
    "div",
    { className: "legend" },
    make("span", { textContent: written(low, form) }),
    ramp,
    make("span", { textContent: written(high, form) + note }),
  );
}

export function largest(values) {
  let high = 0;
  for (const value of values) if (Number.isFinite(value) && Math.abs(value) > high) high = Math.abs(value);
  return high;
}

export function token(text, properties = {}) {
  return make("span", { className: "token", textContent: visible(text), ...properties });
}
