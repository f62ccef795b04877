import assert from "node:assert/strict";
import { test } from "node:test";
import { counted } from "../../src/pellucid/web/picture/notation.js";
import { probabilities } from "../../src/pellucid/web/picture/sampling.js";
import { STEPS } from "../../src/pellucid/web/walk/steps.js";
import { digits, exact, filled, products, shape } from "../../src/pellucid/web/walk/writing.js";

test("numbers are written as in a terminal", () => {
  assert.deepEqual(
    [-0.0001, -1.5, 0, -Infinity, NaN].map((value) => digits(value)),
    ["0.000", "−1.500", "0.000", "−∞", "·"],
  );
  assert.equal(exact(-0.1 - 0.2), "−0.3");
  assert.equal(counted(1234567), "1,234,567");
  assert.equal(shape(4, 50257), "[4 × 50,257]");
});

test("a sentence that names what is not known is left out", () => {
  assert.equal(filled("“{name}” has {id}", { name: "{id}", id: "7" }), "“{id}” has 7");
  assert.equal(filled("{name} {more}", { name: "a" }), null);
});

test("long sums name their largest products", () => {
  assert.equal(products([1, 2], [3, -4]), "1.000 × 3.000 + 2.000 × −4.000");
  const many = products([5, ...Array(19).fill(0.1)], Array(20).fill(1));
  assert.match(many, /^5\.000 × 1\.000 \+ .*\(16 smaller products\)$/);
});

test("shares sum to one under every filter", () => {
  for (const chosen of [{}, { temperature: 0.3 }, { topK: 2 }, { topP: 0.5 }, { temperature: 0 }]) {
    const sum = probabilities([1, 2, 3, -1], chosen).reduce((total, share) => total + share, 0);
    assert.ok(Math.abs(sum - 1) < 1e-12);
  }
});

test("there are twelve steps, and each says what it needs", () => {
  assert.equal(STEPS.length, 12);
  const gpt2 = { added: true, gated: false, query: ["attn.q"], key: ["attn.k"] };
  const of = (anatomy) => STEPS.flatMap((step) => step.needs({ layer: 3, head: 0, position: 0 }, anatomy));
  const needs = of(gpt2);
  assert.ok(needs.includes("blocks.3.attn.pattern") && !needs.some((name) => name.includes("{")));
  assert.ok(needs.includes("pos_embed") && !needs.includes("blocks.3.attn.rot_q"));
  const llama = of({ added: false, gated: true, query: ["attn.q", "attn.rot_q"], key: ["attn.k", "attn.rot_k"] });
  for (const name of ["attn.rot_q", "attn.rot_k", "mlp.pre_linear"]) assert.ok(llama.includes(`blocks.3.${name}`));
  assert.ok(!llama.includes("pos_embed"));
});
