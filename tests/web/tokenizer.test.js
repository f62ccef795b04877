import assert from "node:assert/strict";
import { test } from "node:test";
import { Tokenizer, bytesOf, textOf, tokenText, wholeText } from "../../src/pellucid/web/machine/tokenizer.js";

const bytes = [...Array(256).keys()].map((byte) => String.fromCharCode(byte));
const merges = [
  ["a", "b"],
  ["b", "c"],
  ["ab", "c"],
];
const tokens = [...bytes, "ab", "bc", "abc", "<|end|>"];
const tokenizer = new Tokenizer({ tokens, unmade: [259], merges, endOfText: 259 });

test("the pair that was learned first merges first", () => {
  const [word] = tokenizer.words("abcbc");
  assert.deepEqual(
    word.merges.map(({ rank, parts }) => [rank, parts.join(" ")]),
    [
      [0, "ab c b c"],
      [1, "ab c bc"],
      [2, "abc bc"],
    ],
  );
  assert.deepEqual(tokenizer.encode("abcbc"), [258, 257]);
});

test("a special token that stands in the text is text", () => {
  assert.deepEqual(
    tokenizer.encode("<|end|>"),
    [...bytesOf("<|end|>")].map((byte) => byte.charCodeAt(0)),
  );
});

test("words are cut as GPT-2 cuts them", () => {
  assert.deepEqual(tokenizer.split("I'll go,  now 42!\n x"), ["I", "'ll", " go", ",", " ", " now", " 42", "!", "\n", " x"]);
  assert.deepEqual(tokenizer.split("\u0085a\ufeffb"), ["\u0085", "a", "\ufeff", "b"]);
});

test("every text comes back, but for half a character", () => {
  for (const text of ["", "naïve 日本 🐈", "\u0000\t"]) assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  assert.equal(tokenizer.decode(tokenizer.encode("\ud83d")), "\ufffd");
});

test("bytes that are no text stand as bytes", () => {
  assert.equal(textOf("\xf0\x9f"), null);
  assert.equal(tokenText("\xf0\x9f"), "⟨F0\u00a09F⟩");
  assert.equal(wholeText("a\xf0b"), "a⟨F0⟩b");
});
