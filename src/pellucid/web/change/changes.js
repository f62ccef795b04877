/* Interventions, as docs/inspect_http.md declares them: in words, in the page's address, and where
   they stand. */

import { onOneLine } from "../picture/notation.js";

/**
 * @typedef {number | number[] | { start?: number, stop: number }} Places
 * @typedef {{ towards: string, away: string, strength?: number }} Direction
 * @typedef {{ name: string, op: string, layer?: Places, head?: Places, position?: Places,
 *   value?: number | number[] | Direction, source?: string | number[], edits?: Record<string, number> }} Change
 *   edits: of a value that was stopped at, in place of all of it: index → number; `whole` makes it one
 * @typedef {{ name: string, layer: number | null, head: number | null, position: number }} Stop
 */

const FIELDS = ["name", "op", "layer", "head", "position", "value", "source", "edits"];
const SHOWN = 24; /* characters of a source */
const WORDS = { mlp_out: "MLP", attn_out: "attention" };
const SIGNS = { scale: "×", add: "+", set: "=" };

/* Every value that can be named, what its axes are besides the position, and whether it is in a
   layer; pellucid.TAPS. */
export const VALUES = {
  embed: "n_embd",
  pos_embed: "n_embd",
  resid_pre: "n_embd",
  "ln1.scale": "1",
  "ln1.normalized": "n_embd",
  "ln1.out": "n_embd",
  "attn.q": "head d_k",
  "attn.k": "head d_k",
  "attn.v": "head d_k",
  "attn.qk": "head key",
  "attn.scores": "head key",
  "attn.pattern": "head key",
  "attn.z": "head d_k",
  "attn.result": "head n_embd",
  attn_out: "n_embd",
  resid_mid: "n_embd",
  "ln2.scale": "1",
  "ln2.normalized": "n_embd",
  "ln2.out": "n_embd",
  "mlp.pre": "4 · n_embd",
  "mlp.post": "4 · n_embd",
  mlp_out: "n_embd",
  resid_post: "n_embd",
  "ln_final.scale": "1",
  "ln_final.normalized": "n_embd",
  "ln_final.out": "n_embd",
  logits: "n_vocab",
};
const OUTSIDE = /^(embed|pos_embed|ln_final|logits)/;

export const inLayer = (name) => !OUTSIDE.test(name);
export const hasHeads = (name) => (VALUES[name] ?? "").startsWith("head");

/* "blocks.3.attn.z" → its layer and "attn.z". */
function parts(change) {
  const [, layer, kind] = /^blocks\.(\d+)\.(.+)$/.exec(change.name) ?? [null, null, change.name];
  return { layer: layer === null ? change.layer : Number(layer), kind: kind.replaceAll("hook_", "") };
}

function listed(places) {
  if (places === undefined || places === null) return "";
  if (typeof places === "number") return String(places);
  if (Array.isArray(places)) return places.join(",");
  const { start = 0, stop } = places;
  return Array.from({ length: stop - start }, (_, i) => start + i).join(",");
}

/* `Intervention.label` in Python. */
export function label(/** @type {Change} */ change) {
  return `${placed(change)} ${done(change)}`;
}

function placed(change) {
  const { layer, kind } = parts(change);
  const [l, h, p] = [listed(layer), listed(change.head), listed(change.position)];
  if (kind === "embed") return p ? `position ${p}` : kind;
  let where = kind;
  if (kind === "attn.z") where = `L${l || "*"}H${h || "*"}`;
  else if (WORDS[kind]) where = `${WORDS[kind]} ${l || "*"}`;
  else if (l) where += ` L${l}${h ? `H${h}` : ""}`;
  return p ? `${where} at ${p}` : where;
}

function done(/** @type {any} */ { op, value, source, edits }) {
  if (op === "suppress") return "off";
  if (edits) return "= edited";
  if (op === "patch") {
    const text = typeof source === "string" ? source : "ids";
    const characters = Array.from(text);
    return `from “${onOneLine(characters.length <= SHOWN ? text : `${characters.slice(0, SHOWN).join("")}…`)}”`;
  }
  if (typeof value === "number") return `${SIGNS[op]} ${String(Number(value.toPrecision(6)))}`;
  if (Array.isArray(value)) return `${SIGNS[op]} edited`;
  return `${SIGNS[op]} ${onOneLine(value.towards.trim())}`;
}

/* Whether two changes are of the same numbers. */
export function samePlace(one, other) {
  const place = ({ name, layer = null, head = null, position = null }) => JSON.stringify([name, layer, head, position]);
  return place(one) === place(other);
}

/* The changes in an address; what is none is left out. */
export function readChanges(text) {
  try {
    const known = JSON.parse(text ?? "[]");
    return known
      .filter((each) => typeof each?.name === "string" && typeof each?.op === "string")
      .slice(0, 64)
      .map((each) => Object.fromEntries(FIELDS.filter((field) => field in each).map((field) => [field, each[field]])));
  } catch {
    return [];
  }
}

/* As the server takes them: what was edited, with the numbers around it as they are once the changes
   before it were made. read(stop, changes): a promise of a value's numbers. */
export async function whole(changes, read) {
  /** @type {Change[]} */
  const made = [];
  for (const { edits, ...change } of changes) {
    if (!edits) {
      made.push(change);
      continue;
    }
    const { name, layer = null, head = null, position } = change;
    const value = [...(await read({ name, layer, head, position }, [...made]))];
    for (const [i, number] of Object.entries(edits)) if (Number(i) < value.length && Number.isFinite(number)) value[Number(i)] = number;
    made.push({ ...change, value });
  }
  return made;
}

export function writeChanges(changes) {
  return changes.length ? JSON.stringify(changes) : null;
}

/** "attn.z,1,0,4" → where the pass stops. @returns {Stop | null} */
export function readStop(text) {
  const [name, ...places] = (text ?? "").split(",");
  const [layer, head, position] = places.map((place) => (/^\d{1,9}$/.test(place) ? Number(place) : null));
  if (!(name in VALUES) || places.length !== 3 || position === null) return null;
  if (inLayer(name) !== (layer !== null) || hasHeads(name) !== (head !== null)) return null;
  return { name, layer, head, position };
}

export function writeStop(/** @type {Stop | null} */ stop) {
  return stop && [stop.name, stop.layer ?? "", stop.head ?? "", stop.position].join(",");
}
