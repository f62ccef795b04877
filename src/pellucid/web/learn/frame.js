/* What a page of its own has around the view: title, theme, keys. */

import { make } from "../picture/elements.js";
import { counted, onOneLine } from "../picture/notation.js";
import { followSystem, themeSwitch } from "../picture/theme.js";

/* → where the view goes. */
export function framed({ name, parameters }) {
  const main = document.getElementById("main");
  followSystem();
  const about = make("p", { className: "subtitle", textContent: `${onOneLine(name)}, ${counted(parameters)} parameters` });
  main.before(
    make("header", { className: "learned-title" }, make("div", {}, make("h1", { textContent: "How it learned" }), about), themeSwitch()),
  );
  const host = make("div", {});
  main.replaceChildren(host);
  return host;
}

export function listen(view) {
  addEventListener("keydown", (event) => view.key(event) && event.preventDefault());
}
