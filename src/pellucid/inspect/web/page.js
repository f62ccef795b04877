/* The page: sections as Python listed them, each drawn when it comes near the screen. */

import { bars } from "./bars.js";
import { drawAgain } from "./colour.js";
import { distribution } from "./distribution.js";
import { caption, choice, make, tokenStrip, whenSeen } from "./elements.js";
import { heads } from "./heads.js";
import { heat } from "./heat.js";
import { lens } from "./lens.js";
import { Numbers, numbers, visible } from "./numbers.js";
import { likeliest, probabilities } from "./sampling.js";
import { values } from "./values.js";

const PICTURES = {
  bars,
  distribution,
  heads,
  heat,
  lens,
  values,
  list: (spec) => [make("ul", { className: "lines" }, ...spec.lines.map((line) => make("li", { textContent: line })))],
  tabs: (spec) => {
    const names = Object.keys(spec.pictures);
    const place = make("div", { className: "tab" });
    return [choice(spec.caption, names, (i) => place.replaceChildren(picture(spec.pictures[names[i]]))), place];
  },
  text: (spec) => spec.lines.map((line) => make("p", { className: "sentence", textContent: line })),
  tokens: (spec) => tokenStrip(spec, numbers(spec.values).flat),
};

function picture(spec) {
  const host = make("div", { className: "picture", "data-type": spec.type });
  host.append(...[caption(spec.type === "tabs" ? "" : spec.caption), ...PICTURES[spec.type](spec)].filter(Boolean));
  return host;
}

function section(spec, i) {
  const about = spec.about ? make("p", { className: "about", textContent: visible(spec.about).replaceAll("·", " ") }) : null;
  const notes = (spec.notes ?? []).map((text) => make("p", { className: "note", textContent: text }));
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
    const said = body.dataset.jpThemeLight ?? body.dataset.vscodeThemeKind ?? body.dataset.theme ?? "";
    if (/^false$|dark/.test(said) || body.classList.contains("dark")) return "dark";
    if (/^true$|light/.test(said) || body.classList.contains("light")) return "light";
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

const content = JSON.parse(document.getElementById("findings").textContent);
const root = document.documentElement;
const main = document.getElementById("main");

function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  drawAgain();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);

if (content.embedded) {
  root.classList.add("embedded");
  setTheme(hostTheme());
  fitFrame();
} else {
  const toggle = choice("Theme", ["auto", "light", "dark"], (i) => setTheme(["", "light", "dark"][i]));
  const bar = make("header", {}, make("h1", { textContent: content.title }), toggle);
  if (content.sections.length > 1) {
    const links = content.sections.map((spec, i) => make("a", { href: `#section-${i}`, textContent: spec.title }));
    bar.append(make("nav", { "aria-label": "On this page" }, ...links));
  }
  main.before(bar);
}
main.append(...content.sections.map(section));

/* For tests, and for whoever opens the browser's console. */
globalThis.pellucid = { sections: content.sections, numbers, Numbers, likeliest, probabilities };
