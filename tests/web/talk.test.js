import assert from "node:assert/strict";
import { test } from "node:test";
import { FRAMES } from "../../src/pellucid/web/talk/frames.js";
import { press } from "../../src/pellucid/web/talk/keys.js";
import { clock } from "../../src/pellucid/web/talk/notes.js";
import { readPlace, writePlace } from "../../src/pellucid/web/talk/talk.js";
import { STEPS } from "../../src/pellucid/web/walk/steps.js";

test("the frames have the twelve steps in their order, and each has notes", () => {
  const steps = FRAMES.map(({ step }) => step).filter(Boolean);
  assert.deepEqual(
    [...new Set(steps)],
    STEPS.map(({ key }) => key),
  );
  assert.equal(new Set(FRAMES.map(({ key }) => key)).size, FRAMES.length);
  for (const { key, notes } of FRAMES) assert.ok(notes.length, key);
});

test("a clock has hours only when it needs them", () => {
  assert.deepEqual([0, 65_999, 3_600_000 + 61_000, -5].map(clock), ["0:00", "1:05", "1:01:01", "0:00"]);
});

test("a place comes back as it was, and what is none is the first frame", () => {
  const place = { frame: 3, beat: 2, text: "a & b", layer: 1, head: 2 };
  assert.deepEqual(readPlace(Object.fromEntries(Object.entries(writePlace(place)).map(([name, value]) => [name, String(value)]))), place);
  assert.deepEqual(readPlace({ frame: "-1", beat: "x" }), { frame: 0, beat: 0, text: null, layer: 0, head: 0 });
});

/* What was called of a talk. */
function pressed(key, { inside = "", ...more } = {}) {
  const called = [];
  const talk = new Proxy({}, { get: (_, name) => (name === "notes" ? talk : () => called.push(name)) });
  const target = { closest: (selectors) => (inside && selectors.split(", ").includes(inside) ? target : null) };
  press(talk, { key, target, preventDefault() {}, ...more });
  return called.join();
}

test("keys of a keyboard and of a remote", () => {
  const next = ["ArrowRight", "ArrowDown", "PageDown", " ", "Enter"].map((key) => pressed(key));
  assert.deepEqual(new Set(next), new Set(["next"]));
  const back = ["ArrowLeft", "ArrowUp", "PageUp", "Backspace"].map((key) => pressed(key));
  assert.deepEqual(new Set([...back, pressed(" ", { shiftKey: true })]), new Set(["back"]));
  assert.deepEqual(
    ["b", "B", ".", "f", "n", "Escape"].map((key) => pressed(key)).join(" "),
    "toggleBlack toggleBlack toggleBlack fullScreen open stay",
  );
});

test("what is typed, and what presses a button, is not the talk's", () => {
  assert.equal(pressed("b", { inside: "input" }), "");
  assert.equal(pressed("Escape", { inside: "input" }), "stay");
  assert.equal(pressed(" ", { inside: "button" }), "");
  assert.equal(pressed("ArrowRight", { inside: "button" }), "next");
  for (const held of ["ctrlKey", "metaKey", "altKey", "defaultPrevented"]) assert.equal(pressed("f", { [held]: true }), "");
  assert.equal(pressed("q"), "");
});
