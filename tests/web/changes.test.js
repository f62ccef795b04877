import assert from "node:assert/strict";
import { test } from "node:test";
import { hasHeads, label, readChanges, readStop, samePlace, writeChanges, writeStop } from "../../src/pellucid/web/change/changes.js";
import { met } from "../../src/pellucid/web/change/sides.js";

const OFF = { name: "attn.z", op: "suppress", layer: 1, head: 0 };

test("changes come back from an address as they were", () => {
  const changes = [OFF, { name: "resid_pre", op: "add", layer: 1, value: { towards: " & =#é", away: "\n" } }];
  assert.deepEqual(readChanges(writeChanges(changes)), changes);
  assert.equal(writeChanges([]), null);
});

test("what is no list of changes is none", () => {
  for (const text of [undefined, "", "x", "{}", "null", '[1, null, {"name": 3}]', "[[]]"]) assert.deepEqual(readChanges(text), []);
  assert.deepEqual(readChanges('[{"name": "a", "op": "b", "more": 1}]'), [{ name: "a", op: "b" }]);
});

test("a stop names a value that is there, and all of its places", () => {
  for (const stop of [
    { name: "attn.z", layer: 1, head: 0, position: 4 },
    { name: "mlp_out", layer: 0, head: null, position: 0 },
    { name: "embed", layer: null, head: null, position: 2 },
  ]) {
    assert.deepEqual(readStop(writeStop(stop)), stop);
  }
  for (const text of [undefined, "", "attn.z", "attn.z,1,,4", "embed,1,,4", "mlp_out,0,1,4", "nothing,,,1", "attn.z,1,0,"]) {
    assert.equal(readStop(text), null);
  }
  assert.equal(writeStop(null), null);
  assert.ok(hasHeads("attn.pattern") && !hasHeads("attn_out"));
});

test("two changes of the same numbers are known", () => {
  assert.ok(samePlace(OFF, { ...OFF, op: "scale", value: 2 }));
  assert.ok(!samePlace(OFF, { ...OFF, position: 1 }));
});

test("a long source is cut where a character ends", () => {
  const source = "🐈".repeat(30);
  assert.equal(label({ name: "embed", op: "patch", source }), `embed from “${"🐈".repeat(24)}…”`);
});

test("two continuations meet when eight tokens are the same again", () => {
  const side = (text) => ({ tokens: [...text], shares: [...text].map(() => 1), end: "" });
  assert.equal(met(side("abcdefghij"), side("abcdefghij")), false);
  assert.equal(met(side("abXdefghij"), side("abcdefghij")), false);
  const [before, after] = [side("abXdefghijkl"), side("abcdefghijk")];
  assert.equal(met(before, after), true);
  assert.deepEqual([before.tokens.join(""), after.tokens.join("")], ["abXdefghijk", "abcdefghijk"]);
  assert.equal(before.end, "they have met");
});
