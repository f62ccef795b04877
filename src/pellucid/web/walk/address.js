/* What is on the screen, as the part of the page's address behind #: text (or ids), layer, head,
   position and step. Opened again, it shows the same. */

const PLACES = ["layer", "head", "position"];

/* → {text, ids, place, step}; what the address does not say is missing, or null. */
export function readAddress(hash) {
  const known = new URLSearchParams(hash.slice(1));
  const place = {};
  for (const name of PLACES) if (/^\d+$/.test(known.get(name) ?? "")) place[name] = Number(known.get(name));
  const ids = /^\d+(,\d+)*$/.test(known.get("ids") ?? "") ? known.get("ids").split(",").map(Number) : null;
  return { text: known.get("text"), ids, place, step: known.get("step") };
}

/* state: {text, ids, place, step}; text and ids may be null. */
export function writeAddress({ text, ids, place, step }) {
  const known = new URLSearchParams();
  if (ids) known.set("ids", ids.join(","));
  else if (text !== null) known.set("text", text);
  for (const name of PLACES) known.set(name, String(place[name]));
  if (step) known.set("step", step);
  return `#${known}`;
}
