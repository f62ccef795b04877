/* Light, dark, or as the system is; what is drawn follows. */

import { drawAgain } from "./colour.js";
import { choice } from "./elements.js";

/* theme: "light", "dark", or "" for the system's. */
export function setTheme(theme) {
  const root = document.documentElement;
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  drawAgain();
}

export function followSystem() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
}

/* → the buttons of a page of its own. */
export function themeSwitch() {
  return choice("Theme", ["auto", "light", "dark"], (i) => setTheme(["", "light", "dark"][i]));
}
