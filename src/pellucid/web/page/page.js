/* The page: sections as Python listed them, each drawn when it comes near the screen. */

import { make, whenSeen } from "../picture/elements.js";
import { onOneLine, useGlyphs } from "../picture/notation.js";
import { Numbers, numbers } from "../picture/numbers.js";
import { picture } from "../picture/picture.js";
import { likeliest, probabilities } from "../picture/sampling.js";
import { followSystem, setTheme, themeSwitch } from "../picture/theme.js";

function section(spec, i) {
  const about = spec.about ? make("p", { className: "about", textContent: onOneLine(spec.about) }) : null;
  const notes = spec.notes.map((text) => make("p", { className: "note", textContent: text }));
  const body = make("div", { className: "body" });
  const element = make(
    "section",
    { id: `section-${i}`, "data-kind": spec.kind, "aria-labelledby": `title-${i}` },
    make("h2", { id: `title-${i}`, textContent: spec.title }),
    about,
    make("p", { className: "how", textContent: spec.how }),
    ...notes,
    body,
  );
  whenSeen(body, () => {
    body.append(...spec.pictures.map(picture));
    element.dataset.drawn = "";
  });
  return element;
}

/* The notebook's own theme where it says one: JupyterLab, VS Code, marimo. */
function hostTheme() {
  try {
    const body = parent.document.body;
    const theme = body.dataset.jpThemeLight ?? body.dataset.vscodeThemeKind ?? body.dataset.theme ?? "";
    if (/^false$|dark/.test(theme) || body.classList.contains("dark")) return "dark";
    if (/^true$|light/.test(theme) || body.classList.contains("light")) return "light";
  } catch {
    /* a frame that may not look out */
  }
  return "";
}

function fitFrame() {
  let frame = null;
  try {
    frame = frameElement;
  } catch {
    /* likewise: the frame keeps its height, and scrolls */
  }
  if (!frame) return;
  document.documentElement.classList.add("fitted");
  new ResizeObserver(() => (frame.style.height = `${Math.ceil(document.body.getBoundingClientRect().height)}px`)).observe(document.body);
}

const content = JSON.parse(document.getElementById("content").textContent);
useGlyphs(content.glyphs);
const root = document.documentElement;
const main = document.getElementById("main");

followSystem();

if (content.embedded) {
  root.classList.add("embedded");
  setTheme(hostTheme());
  fitFrame();
} else {
  const about = content.subtitle ? make("p", { className: "subtitle", textContent: onOneLine(content.subtitle) }) : null;
  const bar = make("header", {}, make("div", {}, make("h1", { textContent: content.title }), about), themeSwitch());
  if (content.sections.length > 1) {
    const links = content.sections.map((spec, i) => make("a", { href: `#section-${i}`, textContent: spec.title }));
    bar.append(make("nav", { "aria-label": "On this page" }, ...links));
  }
  main.before(bar);
}
main.append(...content.sections.map(section));

/* For tests, and for whoever opens the browser's console. */
globalThis.pellucid = { sections: content.sections, numbers, Numbers, likeliest, probabilities };
