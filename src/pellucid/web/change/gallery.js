/* Prepared examples of known circuits, each an address that shows it. */

import { writeSelection } from "../app/selection.js";
import { make } from "../picture/elements.js";
import { onOneLine } from "../picture/notation.js";
import { copier } from "../walk/writing.js";
import { readChanges } from "./changes.js";
import { EXAMPLES } from "./examples.js";

export function addressOf(/** @type {typeof EXAMPLES[number]} */ { model, text, changes, stop, length }) {
  return writeSelection({ place: "change", model, text, changes: changes.length ? JSON.stringify(changes) : null, stop, length });
}

const LIVE = "talk"; /* the model that every page runs itself */

function walked({ text }) {
  return writeSelection({ place: "walk", text });
}

/* Those of the model that is served first; the others say what serves them. */
export function gallery(model) {
  const own = EXAMPLES.filter((example) => example.model === model);
  const cards = [...own, ...EXAMPLES.filter((example) => example.model !== model)].map((example) => {
    const here = example.model === model;
    const title = make("h3", { textContent: example.title });
    const command = `pellucid open --model ${example.model}`;
    return make(
      "li",
      { className: here ? "example" : "example elsewhere", "data-example": example.name },
      here ? make("a", { href: addressOf(example) }, title) : title,
      make("p", { className: "example-text", textContent: example.text }),
      make("p", { textContent: example.look }),
      ...(here
        ? []
        : [
            make("p", { className: "caption", textContent: `Of the model ${example.model}. In a terminal:` }),
            make(
              "p",
              {},
              make("code", { textContent: command }),
              " ",
              copier("copy", () => command, "the command"),
            ),
            example.model === LIVE ? make("a", { href: walked(example), textContent: "Walk its text in this page" }) : null,
          ]),
    );
  });
  return make(
    "section",
    { className: "gallery", "aria-labelledby": "gallery-title" },
    make("h2", { id: "gallery-title", textContent: "Known circuits" }),
    make("p", {
      className: "how",
      textContent: own.length
        ? "Each of these has been found or built; open one, and switch the head that does it off."
        : `Each of these has been found or built, in another model than ${onOneLine(model)}, which is served here: the command opens its page.`,
    }),
    make("ul", { className: "examples" }, ...cards),
  );
}

/* The one that a model begins with, or none. */
export function first(model) {
  return EXAMPLES.find((example) => example.model === model);
}

/* The example that the address shows, or none. changes: null for whatever they are. */
export function shown(model, text, changes) {
  return EXAMPLES.find(
    (example) => example.model === model && example.text === text && (changes === null || known(example.changes) === known(changes)),
  );
}

/* However the fields are ordered. */
function known(changes) {
  return JSON.stringify(readChanges(JSON.stringify(changes)));
}
