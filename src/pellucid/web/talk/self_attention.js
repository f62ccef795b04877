/* The talk's function, each symbol of it live: texts, and what names a matrix of the step. */

const EMBEDDINGS = { symbol: "norm", text: "embeddings", role: "residual" };
const QUERY = { symbol: "W_Query", role: "query" };
const KEY = { symbol: "W_Key", role: "key" };
const VALUE = { symbol: "W_Value", role: "value" };

export const SELF_ATTENTION = [
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
];
