/* The keys of the talk: those of a keyboard and of a presenter's remote, which sends Page Up, Page
   Down and "." or b. */

export const KEYS = [
  ["→ ↓ Space Page Down", "next"],
  ["← ↑ Shift+Space Page Up", "back"],
  ["Home End", "first frame, last frame"],
  ["b .", "black, and on"],
  ["f", "full screen"],
  ["n", "notes and clock, in a second window"],
  ["t", "type another sentence"],
  ["d", "dark or light"],
  ["r", "restart the clock"],
  ["Esc", "close what is open; from a matrix back to the talk"],
  ["?", "these keys"],
];

const ACTIONS = {
  ArrowRight: (talk) => talk.next(),
  ArrowDown: (talk) => talk.next(),
  PageDown: (talk) => talk.next(),
  Enter: (talk) => talk.next(),
  ArrowLeft: (talk) => talk.back(),
  ArrowUp: (talk) => talk.back(),
  PageUp: (talk) => talk.back(),
  Backspace: (talk) => talk.back(),
  " ": (talk, event) => (event.shiftKey ? talk.back() : talk.next()),
  Home: (talk) => talk.go(0),
  End: (talk) => talk.go(Infinity),
  b: (talk) => talk.toggleBlack(),
  ".": (talk) => talk.toggleBlack(),
  f: (talk) => talk.fullScreen(),
  n: (talk) => talk.notes.open(),
  t: (talk) => talk.compose(),
  d: (talk) => talk.theme(),
  r: (talk) => talk.notes.restart(),
  "?": (talk) => talk.showKeys(),
  Escape: (talk) => talk.stay(),
};
const TYPED = "input, select, textarea";
const PRESSED = "button, a, summary, input, select, textarea";

/* Whether a key was the talk's. What is typed, and what presses a button that has the focus, is not. */
export function press(talk, event) {
  const action = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  const target = event.target?.closest ? event.target : null;
  if (target?.closest(TYPED) && event.key !== "Escape") return false;
  if ([" ", "Enter"].includes(event.key) && target?.closest(PRESSED)) return false;
  event.preventDefault();
  action(talk, event);
  return true;
}

/* Returns what ends it. */
export function listen(talk, where = document) {
  const pressed = (event) => press(talk, event);
  where.addEventListener("keydown", pressed);
  return () => where.removeEventListener("keydown", pressed);
}
