/* The one selection that the whole page shows, as the part of its address behind #: opened again it
   shows the same. #/chat?conversation=…&leaf=…&message=…&token=3&view=why

   place: chat, walk, talk, learn. model: whose numbers they are. conversation, leaf (the end of the
   branch), message, token (of the reply, 0 is its first), view (of the glass), compare (another
   reply). layer, head, position, end, step, text, ids: of the walk. What a place adds is kept as it is. */

const NUMBERS = new Set(["token", "layer", "head", "position", "end"]);

/** @typedef {Record<string, any> & { place: string }} Selection */

/** @returns {Selection} */
export function readSelection(hash) {
  const [place, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  /** @type {Selection} */
  const selection = { place: /^[a-z]+$/.test(place) ? place : "chat" };
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "place") continue;
    if (!NUMBERS.has(name)) selection[name] = value;
    else if (/^\d{1,9}$/.test(value)) selection[name] = Number(value);
  }
  return selection;
}

export function writeSelection({ place, ...rest }) {
  const known = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) {
    if (value !== null && value !== undefined && value !== "") known.set(name, String(value));
  }
  return known.size ? `#/${place}?${known}` : `#/${place}`;
}
