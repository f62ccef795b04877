/* The page's address, where messages stand among ids, how two replies are aligned, and conversations
   that the page alone keeps. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { align, textsOf } from "../../src/pellucid/web/app/chat/align.js";
import { Branches } from "../../src/pellucid/web/app/chat/branches.js";
import { Unkept } from "../../src/pellucid/web/app/chat/unkept.js";
import { aligned } from "../../src/pellucid/web/picture/compare.js";
import { readSelection, writeSelection } from "../../src/pellucid/web/app/selection.js";

test("an address says the whole selection", () => {
  const selection = { place: "chat", conversation: "3f9a", message: "b7", token: 0, view: "why", mine: "a&b=c?d #é" };
  assert.deepEqual(readSelection(writeSelection(selection)), selection);
  assert.equal(writeSelection({ place: "walk", token: undefined, text: null, ids: "" }), "#/walk");
});

test("what is no address is the chat", () => {
  for (const hash of ["", "#", "#/", "#/?", "#/../x", "#step-norm"]) assert.equal(readSelection(hash).place, "chat");
  assert.deepEqual(readSelection("#/walk?token=-1&layer=x&head=1e3&position=99999999999&place=chat"), { place: "walk" });
});

const piece = (text) => ({ bytes: [...new TextEncoder().encode(text)] });

test("messages are found among the prompt's tokens, from its end", () => {
  const pieces = ["<u>", "the", " cat", "<a>", "the", " dog", "<u>", "the", " cat", "<a>"].map(piece);
  assert.deepEqual(align(pieces, ["the cat", "the dog", "the cat"]), [
    [1, 3],
    [4, 6],
    [7, 9],
  ]);
  assert.deepEqual(align(pieces, ["gone by now", "the dog", " the cat "]), [null, [4, 6], [7, 9]]);
  assert.deepEqual(align([], ["a"]), [null]);
});

test("a character of several tokens stands at its last", () => {
  const bytes = piece("é!").bytes;
  assert.deepEqual(textsOf([{ bytes: bytes.slice(0, 1) }, { bytes: bytes.slice(1) }]), ["", "é!"]);
});

test("aligned pairs hold each list in order, and all that both have in common", () => {
  assert.deepEqual(aligned([1, 2, 3, 4], [1, 2, 9, 4]), [
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
  assert.deepEqual(aligned([1, 2], [1, 5, 6, 2]), [
    [0, 0],
    [null, 1],
    [null, 2],
    [1, 3],
  ]);
  let state = 7;
  const next = () => (state = (state * 48271) % 2147483647) % 4;
  for (let round = 0; round < 200; round++) {
    const [left, right] = [0, 1].map(() => Array.from({ length: next() * 2 }, next));
    const rows = aligned(left, right);
    for (const [side, list] of [left, right].entries()) {
      assert.deepEqual(
        rows.map((pair) => pair[side]).filter((i) => i !== null),
        [...list.keys()],
      );
    }
    const same = rows.filter(([i, j]) => i !== null && j !== null && left[i] === right[j]).length;
    assert.ok(same >= common(left, right), `${left} ${right}`);
  }
});

function common(left, right) {
  if (!left.length || !right.length) return 0;
  const [a, b] = [left.slice(1), right.slice(1)];
  return left[0] === right[0] ? 1 + common(a, b) : Math.max(common(a, right), common(left, b));
}

test("a branch goes from the beginning to the newest end through a message", () => {
  const tree = new Branches([
    { id: "a", parent: null, role: "user" },
    { id: "b", parent: "a", role: "assistant" },
    { id: "c", parent: "a", role: "assistant", source: "b" },
    { id: "d", parent: "b", role: "user" },
  ]);
  assert.deepEqual(
    tree.path("d").map(({ id }) => id),
    ["a", "b", "d"],
  );
  assert.equal(tree.end("a"), "c");
  assert.equal(tree.end("b"), "d");
  assert.deepEqual(
    tree.siblings(tree.get("b")).map(({ id }) => id),
    ["b", "c"],
  );
});

test("a message of which more becomes known is still the one that is shown", () => {
  const tree = new Branches([{ id: "a", parent: null, role: "user" }]);
  const shown = [1, 2].map((n) => tree.add({ id: `b${n}`, parent: "a", role: "assistant", unkept: true }));
  tree.add({ id: "b2", unkept: false });
  assert.equal(tree.siblings(shown[1]).indexOf(shown[1]), 1);
  assert.equal(shown[1].unkept, false);
});

const SETTINGS = { greedy: true, temperature: 0.3, top_k: 40, max_tokens: 5, stop: [], stop_tokens: [9], alternatives: 5 };

/* A server that says one token, and one that ends; asked: what it was asked. */
function echoing(asked) {
  const said = (id, text) => ({
    token_ids: [id],
    logprobs: { tokens: [text], token_logprobs: [-1], top_logprobs: [{ [text]: -1, b: -0.5, 1: -2 }], top_token_ids: [[5, id, 7]] },
    finish_reason: null,
  });
  return {
    base: "http://127.0.0.1/",
    get: async () => ({ data: [{ max_model_len: 64, settings: SETTINGS }] }),
    post: async () => ({ tokens: [{ id: 1 }, { id: 2 }] }),
    async *stream(method, path, body) {
      asked.push(body);
      for (const choice of [said(4, "a"), said(9, "<end>")]) yield { model: "m", choices: [choice] };
      yield { model: "m", choices: [{ token_ids: [], logprobs: null, finish_reason: "stop" }] };
    },
  };
}

test("what the page alone keeps is as the server would keep it", async () => {
  const asked = [];
  const api = new Unkept(/** @type {any} */ (echoing(asked)));
  const head = await api.json("POST", "v1/conversations", { settings: { seed: 3, top_k: null } });
  assert.deepEqual(head.settings, { ...SETTINGS, seed: 3, top_k: null });
  for await (const _ of api.stream("POST", `v1/conversations/${head.id}/messages`, { text: "hi", parent: null }));
  const { prompt, temperature, top_k, max_tokens, stop_token_ids } = asked[0];
  assert.deepEqual([prompt, temperature, top_k, max_tokens, stop_token_ids], [[1, 2], 0, 2 ** 31 - 1, 5, [9]]);
  const { messages } = await api.json("GET", `v1/conversations/${head.id}`);
  const { text, generated } = messages[1];
  assert.equal(text, "a");
  assert.deepEqual(
    generated.tokens.map((token) => [token.id, token.text, token.logprob]),
    [
      [4, "a", -1],
      [9, "", -1],
    ],
  );
  /* In the server's order, though an object has the name “1” first. */
  assert.deepEqual(
    generated.tokens[0].alternatives.map((other) => [other.id, other.text]),
    [
      [5, "b"],
      [4, "a"],
      [7, "1"],
    ],
  );
  for await (const _ of api.stream("POST", `v1/conversations/${head.id}/messages/${messages[1].id}/branch`, { step: 1, token: 9 }));
  assert.deepEqual([asked[1].prompt, asked[1].max_tokens], [[1, 2, 4, 9], 0]);
  for await (const _ of api.stream("POST", `v1/conversations/${head.id}/messages/${messages[1].id}/branch`, { step: 1, token: 8 }));
  assert.deepEqual([asked[2].prompt, asked[2].max_tokens], [[1, 2, 4, 8], 3]);
});
