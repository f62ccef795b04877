/* What a page of its own has around the view: title, theme, keys. */

import { drawAgain } from "../picture/colour.js";
import { choice, make } from "../picture/elements.js";
import { counted, onOneLine } from "../picture/notation.js";

function setTheme(theme) {
  const root = document.documentElement;
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  drawAgain();
}

/* → where the view goes. */
export function framed({ name, parameters }) {
  const main = document.getElementById("main");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
  const toggle = choice("Theme", ["auto", "light", "dark"], (i) => setTheme(["", "light", "dark"][i]));
  const about = make("p", { className: "subtitle", textContent: `${onOneLine(name)}, ${counted(parameters)} parameters` });
  main.before(
    make("header", { className: "learned-title" }, make("div", {}, make("h1", { textContent: "How it learned" }), about), toggle),
  );
  const host = make("div", {});
  main.replaceChildren(host);
  return host;
}

export function listen(view) {
  addEventListener("keydown", (event) => view.key(event) && event.preventDefault());
}
