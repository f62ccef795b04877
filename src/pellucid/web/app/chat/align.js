/* Where the messages on the screen stand among the ids that the model had before it. */

/* pieces: {id, text, bytes} of the whole prompt. texts: of the messages before the reply, in order.
   → of each [first, end) of its tokens, or null where the prompt does not hold it. */
export function align(pieces, texts) {
  const starts = [0];
  for (const { bytes } of pieces) starts.push(starts.at(-1) + bytes.length);
  const whole = new Uint8Array(starts.at(-1));
  pieces.forEach(({ bytes }, i) => whole.set(bytes, starts[i]));
  const encoder = new TextEncoder();
  let before = whole.length;
  const out = [];
  for (const text of [...texts].reverse()) {
    const place = lastOf(whole, encoder.encode(text.trim()), before);
    if (place === null) {
      out.unshift(null);
      continue;
    }
    before = place[0];
    const first = starts.findLastIndex((start) => start <= place[0]);
    const end = starts.findIndex((start) => start >= place[1]);
    out.unshift([first, end]);
  }
  return out;
}

function lastOf(whole, part, before) {
  if (!part.length) return null;
  for (let at = before - part.length; at >= 0; at--) {
    let i = 0;
    while (i < part.length && whole[at + i] === part[i]) i += 1;
    if (i === part.length) return [at, at + part.length];
  }
  return null;
}

/* The text of each piece; a character that several share stands at its last one. */
export function textsOf(pieces) {
  const decoder = new TextDecoder();
  return pieces.map(({ bytes }) => decoder.decode(Uint8Array.from(bytes), { stream: true }));
}
