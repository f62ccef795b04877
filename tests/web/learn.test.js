import assert from "node:assert/strict";
import { test } from "node:test";
import { foundAt, mostAt, ToldMoments } from "../../src/pellucid/web/learn/moments.js";

const shares = [
  [0.2, 0.7, 0.1],
  [0.6, 0.3, 0.1],
  [0.3, 0.1, 0.6],
  [0.8, 0.1, 0.1],
  [0.9, 0.05, 0.05],
];
const data = {
  text: "a b",
  tokens: ["a", " b"],
  steps: [0, 1, 2, 4, 8],
  told: {
    heads: [[1, 3]],
    pattern: shares.map(([first]) => [
      [
        [1, 0],
        [first, 1 - first],
      ],
    ]),
    next: { ids: [7, 8, 9], texts: ["x", "y", "z"], shares, first: [1, 0, 2, 0, 0] },
    text_losses: [3, null, 1, 1, 0.5],
  },
};

test("what Python told is found again", () => {
  const moments = new ToldMoments(data);
  assert.equal(moments.first(2).id, 9);
  assert.equal(moments.first(2).share, 0.6);
  assert.deepEqual(
    moments.next(4).map(({ shown }) => shown),
    ["x", "y", "z"],
  );
  assert.equal(moments.pattern(3, 1, 3).at(1, 0), 0.8);
  assert.equal(moments.textLoss(1), null);
  assert.equal(foundAt(moments), 3);
});

test("of keys that come later none is the one most looked at", () => {
  const pattern = { at: (query, key) => [0.3, 0.4, 0.9][key] };
  assert.equal(mostAt(pattern, 1), 1);
  assert.equal(mostAt(pattern, 0), 0);
});
