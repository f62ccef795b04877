/* The walk's twelve steps, in the order in which a text becomes the next token. said: the steps of
   the finding (inspect/words.py) whose words stand here; networks: rows of the table. */

import { attention, concat, heads, norm, output } from "./steps_layer.js";
import { loop } from "./steps_loop.js";
import { layers, mlp, prediction } from "./steps_out.js";
import { embeddings, input, tokenization } from "./steps_text.js";

export const STEPS = [
  { key: "input", name: "Input", said: [1], networks: ["input"], draw: input, look: "the sizes beside GPT-2's: the same machine, and nothing else is different." },
  { key: "tokenization", name: "Tokenization", said: [2], networks: ["converted into"], draw: tokenization, look: "the pair that joins next: always the one that was learned first, wherever it stands." },
  { key: "embeddings", name: "Embeddings", said: [3, 4], networks: ["encoded in"], draw: embeddings, look: "the row that slides out of the dictionary: the same token always brings the same numbers, and only its place tells two apart." },
  { key: "norm", name: "Norm", said: [], networks: [], draw: norm, look: "one row before and after: its shape stays, its size does not." },
  { key: "attention", name: "Self-attention of one head", said: [5], networks: ["connected by"], draw: attention, look: "the followed row of the shares: which earlier token gives most, and how its value comes back in z." },
  { key: "heads", name: "All heads of the layer", said: [6], networks: [], draw: heads, look: "how differently the heads look at the same text; choose one, and the step above opens it." },
  { key: "concat", name: "Concat", said: [7], sentences: /side by side/, quote: [], networks: [], draw: concat, look: "the borders between the heads: nothing is mixed yet." },
  { key: "output", name: "W_Output", said: [7], sentences: /added to x/, networks: [], draw: output, look: "x before and after: what the heads found is added to it, and nothing of it is lost." },
  { key: "mlp", name: "MLP and residual stream", said: [8], sentences: /neurons/, quote: [], networks: [], draw: mlp, look: "the neurons after gelu: what was below zero is nearly silent." },
  { key: "layers", name: "All layers", said: [8], sentences: /next layer/, networks: ["layers"], draw: layers, look: "the rung on which the word that is said in the end appears for the first time." },
  { key: "prediction", name: "Output layer", said: [9, 10], networks: ["output"], draw: prediction, look: "the outlined bars, the model's own: a low temperature feeds the likeliest, a high one all the others." },
  { key: "loop", name: "The loop", said: [11, 12], networks: [], draw: loop, look: "the window: when it is full, or a stop token comes, it ends." },
];
