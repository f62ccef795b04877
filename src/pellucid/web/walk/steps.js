/* The walk's twelve steps, in the order in which a text becomes the next token.

   said: the steps of the finding (inspect/words.py) whose words stand here, sentences: only those;
   quote: whose talk is quoted, where not that of all. networks: rows of the table biological ↔
   artificial. needs(place, anatomy): what a pass must have at hand before the step is drawn: values by their
   taps' names, and "dictionary", "projections", "lens", "loop" for what those methods give. What draws
   them stands in drawers.js. */

function inLayer(...names) {
  return ({ layer }) => within(layer, names);
}

function within(layer, names) {
  return names.map((name) => (name === "projections" ? name : `blocks.${layer}.${name}`));
}

/** @type {{ key: string, name: string, said: number[], sentences?: RegExp, quote?: number[], networks: string[], look: string,
 *   needs: (place: import("./pass.js").Place, anatomy: import("./pass.js").Anatomy) => string[] }[]} */
export const STEPS = [
  {
    key: "input",
    name: "Input",
    said: [1],
    networks: ["input"],
    needs: () => [],
    look: "the sizes beside GPT-2's: the same machine, and nothing else is different.",
  },
  {
    key: "tokenization",
    name: "Tokenization",
    said: [2],
    networks: ["converted into"],
    needs: () => [],
    look: "the pair that joins next: always the one that was learned first, wherever it stands.",
  },
  {
    key: "embeddings",
    name: "Embeddings",
    said: [3, 4],
    networks: ["encoded in"],
    needs: (_, { added }) => ["embed", ...(added ? ["pos_embed"] : []), "blocks.0.resid_pre", "dictionary"],
    look: "the row that slides out of the dictionary: the same token always brings the same numbers, and only its place tells two apart.",
  },
  {
    key: "norm",
    name: "Norm",
    said: [],
    networks: [],
    needs: inLayer("resid_pre", "ln1.scale", "ln1.normalized", "ln1.out"),
    look: "one row before and after: its shape stays, its size does not.",
  },
  {
    key: "attention",
    name: "Self-attention of one head",
    said: [5],
    networks: ["connected by"],
    needs: ({ layer }, { query, key }) =>
      within(layer, ["ln1.out", ...query, ...key, "attn.v", "attn.qk", "attn.scores", "attn.pattern", "attn.z", "projections"]),
    look: "the followed row of the shares: which earlier token gives most, and how its value comes back in z.",
  },
  {
    key: "heads",
    name: "All heads of the layer",
    said: [6],
    networks: [],
    needs: inLayer("attn.pattern"),
    look: "how differently the heads look at the same text; choose one, and the step above opens it.",
  },
  {
    key: "concat",
    name: "Concat",
    said: [7],
    sentences: /side by side/,
    quote: [],
    networks: [],
    needs: inLayer("attn.z"),
    look: "the borders between the heads: nothing is mixed yet.",
  },
  {
    key: "output",
    name: "W_Output",
    said: [7],
    sentences: /added to x/,
    networks: [],
    needs: inLayer("attn.z", "attn_out", "resid_pre", "resid_mid"),
    look: "x before and after: what the heads found is added to it, and nothing of it is lost.",
  },
  {
    key: "mlp",
    name: "MLP and residual stream",
    said: [8],
    sentences: /neurons/,
    quote: [],
    networks: [],
    needs: ({ layer }, { gated }) =>
      within(layer, ["resid_mid", "ln2.out", "mlp.pre", ...(gated ? ["mlp.pre_linear"] : []), "mlp.post", "mlp_out", "resid_post"]),
    look: "the neurons after gelu: what was below zero is nearly silent.",
  },
  {
    key: "layers",
    name: "All layers",
    said: [8],
    sentences: /next layer/,
    networks: ["layers"],
    needs: () => ["lens"],
    look: "the rung on which the word that is said in the end appears for the first time.",
  },
  {
    key: "prediction",
    name: "Output layer",
    said: [9, 10],
    networks: ["output"],
    needs: () => ["ln_final.out", "logits", "dictionary"],
    look: "the outlined bars, the model's own: a low temperature feeds the likeliest, a high one all the others.",
  },
  {
    key: "loop",
    name: "The loop",
    said: [11, 12],
    networks: [],
    needs: () => ["loop"],
    look: "the window: when it is full, or a stop token comes, it ends.",
  },
];
