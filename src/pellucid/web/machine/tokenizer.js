/* GPT-2's byte-level byte-pair encoding, as tokenizer/bpe.py has it: split, bytes, merges.

   Bytes stand as texts, one character a byte ("ã" is 0xE3): they are keys of a Map. */

const SPACE = "\\p{White_Space}";
const SPLIT = new RegExp(
  `'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
  "gu",
);
const MOST_SHOWN = 1000; /* bytes of a word whose merges are shown */

/* Text → its bytes; half a surrogate pair becomes U+FFFD. */
export function bytesOf(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

/* Bytes → their text where they are one, else null. */
export function textOf(bytes) {
  try {
    const values = Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(values);
  } catch {
    return null;
  }
}

/* Bytes as they are shown where they are no text: ⟨F0 9F⟩, with no-break spaces. */
export function tokenText(bytes) {
  const text = textOf(bytes);
  if (text !== null) return text;
  return `⟨${spelled(bytes)}⟩`;
}

function spelled(bytes) {
  return Array.from(bytes, (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()).join("\u00a0");
}

/* The bytes of a whole text: only those that are no character even there stand as bytes. */
export function wholeText(bytes) {
  const whole = textOf(bytes);
  if (whole !== null) return whole;
  let out = "";
  for (let at = 0; at < bytes.length;) {
    const length = [1, 2, 3, 4].find((n) => at + n <= bytes.length && textOf(bytes.slice(at, at + n)) !== null);
    out += length ? textOf(bytes.slice(at, at + length)) : `⟨${spelled(bytes[at])}⟩`;
    at += length ?? 1;
  }
  return out;
}

export class Tokenizer {
  /* tokens: the bytes of each id. unmade: ids that no merge makes, special ones too. merges: pairs
     of bytes, the first learned first. endOfText: the id that an empty text begins with, or null. */
  constructor({ tokens, unmade, merges, endOfText }) {
    this.tokens = tokens;
    this.endOfText = endOfText;
    const others = new Set(unmade);
    this.ids = new Map(tokens.map((bytes, id) => [bytes, id]).filter(([, id]) => !others.has(id)));
    this.ranks = new Map(merges.map(([left, right], rank) => [`${left.length} ${left}${right}`, rank]));
  }

  split(text) {
    return text.replace(/\p{Cs}/gu, "\ufffd").match(SPLIT) ?? [];
  }

  /* The merges of a word, one after the other: the pair of the lowest rank, the leftmost first. */
  *mergeLoop(bytes) {
    const parts = [...bytes];
    for (;;) {
      let [best, at] = [Infinity, -1];
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i].length} ${parts[i]}${parts[i + 1]}`);
        if (rank < best) [best, at] = [rank, i];
      }
      if (at < 0) return parts;
      const pair = [parts[at], parts[at + 1]];
      parts.splice(at, 2, pair.join(""));
      yield { rank: best, pair, parts: [...parts] };
    }
  }

  /* [{text, start, merges}]: each word with the merges that made its tokens; null beside a word
     that is too long to show them. */
  words(text) {
    return this.split(text).map((word) => {
      const start = [...bytesOf(word)];
      return { text: word, start, merges: start.length > MOST_SHOWN ? null : [...this.mergeLoop(start)] };
    });
  }

  encode(text) {
    const ids = [];
    for (const word of this.split(text)) {
      const loop = this.mergeLoop(bytesOf(word));
      let state = loop.next();
      while (!state.done) state = loop.next();
      for (const part of state.value) ids.push(this.ids.get(part));
    }
    return ids;
  }

  decode(ids) {
    return wholeText(ids.map((id) => this.tokens[id]).join(""));
  }

  /* The text of one token; not yet made visible. */
  text(id) {
    return tokenText(this.tokens[id]);
  }
}
