/* The talk's frames, in their order: what stands on each, and what its speaker may say. Data only;
   docs/talk.md is written from it, stage.js and words.js draw it.

   key, title. kind: who draws it; without one it is title and lines. field: how the neurons behind
   it are seen. lines: appear one by one. step: of the walk (walk/steps.js), whose matrices (by their
   symbols), signs and parts (by their classes) each beat shows; plays: as many beats as that step has
   moments; point: the matrix of which a cell is worked out; light: the symbol that is meant; says:
   one sentence, with what it names in braces. notes: for the speaker. */

const EMBEDDINGS = { symbol: "norm", text: "embeddings", role: "residual" };
const QUERY = { symbol: "W_Query", role: "query" };
const KEY = { symbol: "W_Key", role: "key" };
const VALUE = { symbol: "W_Value", role: "value" };

export const FRAMES = [
  {
    key: "title",
    title: "Neural Networks and Transformers",
    field: "far",
    lines: ["An introduction, on a model that is small enough to read", "after the talk by Keith Gibson"],
    open: true,
    notes: [
      "Welcome. In the next half hour a text goes through a transformer, from its letters to the next word.",
      "Nothing is a drawing of numbers: a small GPT runs in this page, and every number that follows is its own.",
      "We simplify where we can, and say so where it matters.",
    ],
  },
  {
    key: "question",
    title: "So… what is a neural network?",
    field: "far",
    lines: ["More precisely: an artificial one", "It is modelled, roughly, on the biological one in your head"],
    notes: [
      "Ask the room first. Most answers describe the artificial kind without saying so.",
      "The artificial one is named after the brain's and borrows its plan, no more. So we begin with what both have: neurons, and connections.",
    ],
  },
  {
    key: "field",
    title: "Neurons",
    field: "near",
    quiet: true,
    notes: ["Say nothing for a moment. Let the field be looked at."],
  },
  {
    key: "alone",
    title: "One alone means nothing",
    field: "alone",
    notes: ["What can this one do by itself, what does it mean? Nothing. Wait for the next press."],
  },
  {
    key: "relation",
    title: "In relation, it does",
    field: "related",
    notes: [
      "Connected, its signal reaches others, and theirs reach it: what it means lies in what it is connected to.",
      "Keep this picture in mind; attention, later, is exactly this, with numbers on the edges.",
    ],
  },
  {
    key: "networks",
    title: "Biological ↔ artificial",
    kind: "networks",
    notes: [
      "First down the biological side: what comes in, what it becomes, where it is held, what connects it, how it is worked on, what comes out.",
      "Then the same six lines for the machine. Text becomes tokens, tokens become embeddings; an element is one number of an embedding.",
      "Each layer's output is the next layer's input, on both sides.",
      "The comparison is rough. It is good for finding one's way, not for conclusions about the brain.",
    ],
  },
  {
    key: "network",
    title: "So that's the neural network",
    field: "far",
    notes: ["A breath. Any questions on the comparison belong here."],
  },
  {
    key: "transformer",
    title: "What's a transformer, then?",
    field: "far",
    lines: ["A neural network of that very plan", "What differs is how its layers work on what they get"],
    notes: [
      "Input, layers, output: all of that stays. Only the inside of the layers is new.",
      "Earlier networks for text read word after word. A transformer lets every word look at every word before it, at once.",
    ],
  },
  {
    key: "mechanism",
    title: "“multi-head attention mechanism”",
    field: "far",
    notes: ["The name of what is new. It sounds harder than it is: by the end each of these words has a picture."],
  },
  {
    key: "far",
    title: "A chatbot, from far",
    kind: "far",
    notes: [
      "From far it is a box: a text goes in, one token comes out.",
      "In between lie the input layer, the layers in the middle and the output layer. We open them in a minute.",
      "The percentage is how sure the model is. It always has an answer for every token it knows; we take the likeliest.",
    ],
  },
  {
    key: "fed",
    title: "… and fed back in",
    kind: "fed",
    notes: [
      "The token is put behind the text, and all of it goes in again.",
      "Press through it slowly: one token out, fed back in, one token out. Each new word has a say in the next.",
      "That is all a chatbot does. The clapper goes to jail one word at a time.",
    ],
  },
  {
    key: "sizes",
    title: "The same machine, in two sizes",
    kind: "sizes",
    notes: [
      "GPT-2 of 2019 beside the model in this page. The program is the same; only these numbers differ.",
      "n_vocab: how many tokens it knows. n_ctx: how many it can look at together; ours is 8, so that we see a window fill up.",
      "n_embd: how many numbers stand for one token. n_head: how often each layer looks, in parallel. n_layer: how often all of it is done.",
      "12 heads in 12 layers: in GPT-2 what you see next happens 144 times for each token.",
    ],
  },
  {
    key: "input",
    title: "Input",
    kind: "input",
    step: "input",
    notes: [
      "This is the sentence of the talk. Press t and type one that the audience calls out: from here on everything is its own.",
      "The small model has learned 24 sentences about clappers, kings and judges; of others it makes what it can.",
    ],
  },
  {
    key: "tokens",
    title: "Tokenization",
    kind: "tokens",
    step: "tokenization",
    notes: [
      "A model knows no letters and no words, only tokens: pieces that it saw often. Frequent words are one token, rare ones are several.",
      "The mark ␣ is a space; it belongs to the token behind it.",
      "The last press shows how: bytes are joined pair by pair, the pair learned first goes first. Rewind and play it.",
    ],
  },
  {
    key: "dictionary",
    title: "Tokens ⇒ embeddings",
    kind: "dictionary",
    step: "embeddings",
    notes: [
      "Read the first sentence aloud, and ask who can picture it.",
      "Then the second. They say the same thing: a dense vector is an array of numbers, an embedding matrix is a dictionary.",
      "The last press opens the dictionary at the row of one token. These numbers were learned; nobody wrote them.",
    ],
  },
  {
    key: "embeddings",
    title: "Embeddings",
    step: "embeddings",
    beats: [
      {
        plays: true,
        show: [".dictionary", "→", "embed"],
        says: "Look up, token by token: each gets its row, an array of {n_embd} numbers.",
      },
      {
        show: ["embed", "+", "pos", "→", "x"],
        point: "x",
        says: "Where it stands matters too: the array of its position is added.",
      },
    ],
    notes: [
      "One press a token: its row slides out of the dictionary. The same token always brings the same numbers.",
      "The last press adds the position, from a second dictionary; else the model could not tell what comes first. The sum, x, enters the first layer.",
    ],
  },
  {
    key: "norm",
    title: "Norm",
    step: "norm",
    beats: [
      {
        show: ["x", "→", "norm"],
        point: "norm",
        says: "Before the heads look, each array is brought to one scale: mean 0, deviation 1, then a gain and a bias that were learned.",
      },
    ],
    notes: [
      "The slides of the talk leave it out, and one sentence is enough: it keeps the numbers at a size that can be worked with.",
      "From here on, where a formula says embeddings, these are meant.",
    ],
  },
  {
    key: "attention",
    title: "Self-attention",
    step: "attention",
    code: [
      "function selfAttention(",
      EMBEDDINGS,
      ", headNWeights, d_k) {\n  const { ",
      QUERY,
      ", ",
      KEY,
      ", ",
      VALUE,
      " } = headNWeights;\n  const ",
      { symbol: "z", text: "updatedEmbeddings", role: "residual" },
      " = ",
      { symbol: "pattern", text: "softmax", role: "attention" },
      "((",
      QUERY,
      " * ",
      EMBEDDINGS,
      "\n      * ",
      { symbol: "qkT", text: "transpose", role: "attention" },
      "(",
      KEY,
      " * ",
      EMBEDDINGS,
      ")) / ",
      { symbol: "qk", text: "sqrt(d_k)", role: "attention" },
      ") * ",
      VALUE,
      " * ",
      EMBEDDINGS,
      ";\n  return updatedEmbeddings; }",
    ],
    beats: [
      {
        show: ["norm"],
        light: "norm",
        says: "One function, and every symbol of it is here. It takes the embeddings: layer {layer}, head {head}.",
      },
      { show: ["W_Query", "→", "q"], light: "W_Query", point: "q", says: "Each token asks: its query, {d_k} numbers." },
      { show: ["W_Key", "→", "k"], light: "W_Key", point: "k", says: "Each token offers: its key." },
      { show: ["q", "·", "k", "→", "qkT"], light: "qkT", point: "qkT", says: "Every query is held against every key." },
      {
        show: ["qkT", "→", "qk"],
        light: "qk",
        point: "qk",
        says: "Divided by √d_k, so that longer arrays do not weigh more.",
      },
      {
        show: ["qk", "→", "scores"],
        point: "scores",
        says: "The slide leaves it out: no token sees a later one.",
      },
      {
        show: ["scores", "→", "pattern"],
        light: "pattern",
        point: "pattern",
        says: "Softmax makes shares of each row: “{name}” looks most at “{other}”, {share}.",
      },
      { show: ["W_Value", "→", "v"], light: "W_Value", point: "v", says: "Each token gives: its value." },
      {
        show: ["pattern", "·", "v", "→", "z"],
        light: "z",
        point: "z",
        says: "The values, mixed by those shares: each array changed by what it looked at.",
      },
    ],
    notes: [
      "Say it without the symbols first: every token looks at the tokens before it, decides which matter to it, and takes something from them.",
      "Then symbol by symbol. Query: what am I looking for? Key: what do I have? A large product means the two fit.",
      "The softmax row is the whole point: read one aloud, who looks at whom, and by how much. These are the edges that lit up between the neurons.",
      "The bottom line works out one cell. Point at any other, or click a symbol of the function.",
      "Two things are not on the talk's slide: the mask, and a bias added to each product.",
    ],
  },
  {
    key: "heads",
    title: "Heads, in parallel",
    kind: "heads",
    step: "heads",
    notes: [
      "The same function with other weights, several times at once. GPT-2 has 12 heads in each layer, this model has fewer.",
      "Each head looks elsewhere: one at the word before, one at the beginning, one at what the others leave.",
      "Darker or brighter is only more; a row asks, a column is looked at.",
    ],
  },
  {
    key: "concat",
    title: "concat",
    step: "concat",
    beats: [
      { show: ["z*"], says: "What each of the {n_head} heads found: {d_k} numbers a token." },
      {
        show: ["z*", "→", "concat"],
        point: "concat",
        says: "Laid side by side: {n_head} × {d_k} numbers again make an array of {n_embd}.",
      },
    ],
    notes: ["Nothing is computed here. The arrays of the heads are put next to each other, and have the width that came in."],
  },
  {
    key: "output",
    title: "W_Output",
    step: "output",
    beats: [
      {
        show: ["W_Output", "→", "attn_out"],
        point: "attn_out",
        says: "One matrix mixes what the heads found into a single set of embeddings.",
      },
      {
        show: ["pre", "+", "attn_out", "→", "mid"],
        point: "mid",
        says: "It is added to x: nothing that was there is lost.",
      },
    ],
    notes: [
      "The slide's (h * d_k, d_model): as many rows as the heads have numbers together, as many columns as an embedding has.",
      "The sum is what people call the residual stream: each part of the model reads from it and adds to it.",
    ],
  },
  {
    key: "mlp",
    title: "MLP",
    step: "mlp",
    beats: [
      {
        show: ["pre", "→", "post"],
        point: "post",
        says: "Not on the slides: each token then works for itself, through {neurons} neurons.",
      },
      {
        show: ["mid", "+", "out", "→", "after"],
        point: "after",
        says: "That, too, is added to x: the output of layer {layer}.",
      },
    ],
    notes: [
      "Attention moves something from token to token; here each token thinks about what it got.",
      "In GPT-2 two thirds of a layer's numbers are here. These are the neurons of the comparison, if any are.",
    ],
  },
  {
    key: "layers",
    title: "Repeat for each layer",
    kind: "layers",
    step: "layers",
    notes: [
      "Norm, attention, MLP: that was one layer. Its output is the next one's input, and everything happens again with other weights.",
      "The ladder asks a question that the slides do not: what would it say if it stopped here? Read it from the bottom up.",
    ],
  },
  {
    key: "prediction",
    title: "predictToken",
    step: "prediction",
    beats: [
      {
        show: ["x", "→", "logits"],
        point: "logits",
        says: "The last array of “{name}” is held against the embeddings of all {n_vocab} tokens: the dictionary again.",
      },
      {
        show: ["logits", "→", "shares"],
        point: "shares",
        says: "Softmax makes probabilities of it: “{token}”, with {share}.",
      },
      { show: [".sampling"], says: "Greedy takes the first. Bend it, and others get their chance." },
    ],
    notes: [
      "predictToken(outputEmbeds) is nothing new: the better an array matches a token's embedding, the likelier the token.",
      "Only the last row is needed: it has looked at all the others.",
      "Temperature above 1 evens the bars out, below 1 it sharpens them. This is the knob that chat programs call creativity.",
    ],
  },
  {
    key: "loop",
    title: "Repeat all of it",
    kind: "loop",
    step: "loop",
    notes: [
      "The window fills, a token a press. GPT-2 has 1,024 places; ours has 8.",
      "It ends when the window is full, or when the model says its stop token: that is a token like any other, which means that nothing follows.",
      "With the sentence of the talk the window is full at jail.",
    ],
  },
  {
    key: "end",
    title: "if (output) return end;",
    field: "far",
    lines: ["Text, tokens, embeddings, attention, layers, a token, and back in"],
    notes: [
      "Thank you. Go back to any frame a question is about: Home, End, the dots below, or its number in the address.",
      "Keep the page: it is one file, and it goes on computing without a network.",
    ],
  },
  {
    key: "cited",
    title: "Works cited",
    kind: "cited",
    works: [
      {
        title: "Neural Networks and Transformers",
        by: "Keith Gibson, the talk that this one follows",
        link: "https://github.com/keithgibson",
      },
      { title: "Attention Is All You Need", by: "Vaswani et al., 2017: the transformer", link: "https://arxiv.org/abs/1706.03762" },
      {
        title: "GPT-2, the source",
        by: "OpenAI, 2019: src/model.py",
        link: "https://github.com/openai/gpt-2/blob/master/src/model.py",
      },
      {
        title: "Language Models are Few-Shot Learners",
        by: "Brown et al., 2020: GPT-3",
        link: "https://arxiv.org/abs/2005.14165",
      },
    ],
    notes: ["Leave this one standing while questions are asked."],
  },
];
