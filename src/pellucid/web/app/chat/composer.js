/* Where one writes, and how replies are generated. */

import { make } from "../../picture/elements.js";
import { ask } from "../dialogs.js";

const EXAMPLES = ["Tell me a story about a dog.", "Hello! What is your name?", "What do you like to eat?"];
/* Of the embedded models that do not chat. */
const OWN = { talk: ["The king went home to", "My head went home to", "The crowd"], induction: ["abcdeabc", "xyzwxyz"] };

export class Composer {
  /* say(text): a person said something. stop(): the reply is to end. settings(): they are asked for. */
  constructor({ say, stop, settings }) {
    this.say = say;
    this.stop = stop;
    this.box = make("textarea", { rows: 1, placeholder: "Write something", "aria-label": "Write something" });
    this.send = make("button", { type: "submit", className: "main", textContent: "Send" });
    this.halt = make("button", { type: "button", className: "main", textContent: "Stop", hidden: true, onclick: () => this.stop() });
    const wheel = make("button", { type: "button", className: "plain", textContent: "Settings", onclick: settings });
    this.note = make("p", { className: "quiet", role: "status", hidden: true });
    this.form = make(
      "form",
      { className: "composer" },
      this.note,
      make("div", { className: "composer-row" }, this.box, this.send, this.halt, wheel),
    );
    this.element = this.form;
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.box.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    };
    this.box.oninput = () => this.fit();
  }

  submit() {
    const text = this.box.value.trim();
    if (!text || this.busy) return;
    this.say(text);
  }

  clear() {
    this.box.value = "";
    this.fit();
  }

  fit() {
    this.box.style.height = "";
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 200)}px`;
  }

  set working(on) {
    this.busy = on;
    this.send.hidden = on;
    this.halt.hidden = !on;
  }

  tell(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}

/* Buttons that say something for whoever does not know what. */
export function examples(model, say) {
  return make(
    "div",
    { className: "examples", role: "group", "aria-label": "Examples" },
    ...(OWN[model] ?? EXAMPLES).map((text) =>
      make("button", { type: "button", className: "option", textContent: text, onclick: () => say(text) }),
    ),
  );
}

const DRAWING = ["temperature", "top_k", "top_p"];
const NUMBERS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: "any", hint: "0 always takes the likeliest" },
  { name: "top_k", label: "Top-k", min: 1, step: 1, hint: "empty: all tokens" },
  { name: "top_p", label: "Top-p", min: 0, max: 1, step: "any", hint: "empty: all tokens" },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.01, max: 100, step: "any", hint: "1 is none" },
  { name: "max_tokens", label: "At most so many tokens", min: 1, step: 1, hint: "empty: as far as the window goes" },
  { name: "seed", label: "Seed", min: 0, step: 1, hint: "empty: another each time" },
];

/* → a promise of { system, settings } that were changed, or null. */
export async function askSettings({ system, settings }) {
  const now = (name) => (name === "temperature" && settings.greedy ? 0 : (settings[name] ?? null));
  const fields = [
    { name: "system", label: "System text, at the beginning of the conversation", type: "area", value: system ?? "" },
    ...NUMBERS.map((field) => ({ ...field, type: "number", value: now(field.name) ?? "" })),
  ];
  const answer = await ask("How replies are generated", fields, "Keep", { note: "From the next reply on. Nothing that was said changes." });
  if (!answer) return null;
  const changed = {};
  for (const { name } of NUMBERS) {
    const value = answer[name] === "" ? null : Number(answer[name]);
    if (value !== now(name)) changed[name] = value;
  }
  /* Whoever says how to draw wants it drawn. */
  if (DRAWING.some((name) => name in changed)) changed.greedy = false;
  const out = { settings: changed };
  if (answer.system !== (system ?? "")) out.system = answer.system || null;
  return out;
}
