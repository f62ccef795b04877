/* The place "How it learned" of the served page. */

import { make } from "../picture/elements.js";
import { useGlyphs } from "../picture/notation.js";
import { Learned } from "./view.js";

/* Its style, once, before anything is drawn. */
function styled() {
  const href = new URL("./learn.css", import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === href)) return null;
  const link = make("link", { rel: "stylesheet", href });
  const loaded = new Promise((resolve) => (link.onload = link.onerror = resolve));
  document.head.append(link);
  return loaded;
}

/* A selection as the view takes it: the first moment, where it names none. */
function placeIn({ text = null, layer = null, head = null, moment = 0 }) {
  return { text, layer, head, step: /^\d+$/.test(String(moment)) ? Number(moment) : 0 };
}

/* selection: {text, layer, head, moment}, moment being a step. go(change, how): another one. */
export async function mount(host, { api, selection, go = (_, __) => {} }) {
  const waiting = make("p", { className: "learned-state", textContent: "The moments of the training are on their way …" });
  host.classList.add("learned-place");
  host.replaceChildren(waiting);
  let [view, closed] = [null, false];
  const close = () => ((closed = true), view?.close());
  let model = null; /* whose numbers these are */
  const onplace = ({ text = null, layer = null, head = null, step = null }) =>
    go({ model, text, layer, head, moment: step }, { replace: true });
  try {
    const [known] = await Promise.all([api.get("v1/inspect/history"), styled()]);
    if (closed) return { update() {}, close };
    model = known.learned.name;
    useGlyphs(known.glyphs);
    host.replaceChildren(heading(known));
    view = new Learned({ host, data: known.learned, place: placeIn(selection), onplace });
  } catch (error) {
    waiting.textContent = error.message;
  }
  return { update: (next) => view?.open(placeIn(next)), close, key: (event) => Boolean(view?.key(event)) };
}

function heading({ learned, note }) {
  const about = `model ${learned.name}, ${learned.parameters.toLocaleString("en")} parameters`;
  return make(
    "div",
    { className: "learned-title" },
    make("h1", { textContent: "How it learned" }),
    make("p", { className: "subtitle", textContent: note ? `${about}. ${note}` : about }),
  );
}
