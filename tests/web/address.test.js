import assert from "node:assert/strict";
import { test } from "node:test";
import { readAddress, writeAddress } from "../../src/pellucid/web/walk/address.js";

test("an address comes back as it was", () => {
  const place = { layer: 1, head: 2, position: 3 };
  for (const [text, ids] of [
    ["a & b=#é\n", null],
    ["", null],
    [null, [348, 0]],
    [null, null],
  ]) {
    const state = { text, ids, place, step: "mlp" };
    assert.deepEqual(readAddress(writeAddress(state)), state);
  }
});

test("what is no address says nothing", () => {
  for (const hash of ["", "#step-mlp", "#layer=-1&ids=x,1&head=1e9"]) {
    assert.deepEqual(readAddress(hash), { text: null, ids: null, place: {}, step: null });
  }
});
