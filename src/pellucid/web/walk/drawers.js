/* What draws each step: draw(context) → {board, known, formula, stage, own}; of what plays, play(at,
   moved) and how many moments it has. */

import { attention, norm } from "./steps_attention.js";
import { embeddings } from "./steps_embeddings.js";
import { concat, heads, output } from "./steps_heads.js";
import { loop } from "./steps_loop.js";
import { layers, mlp, prediction } from "./steps_out.js";
import { input, tokenization } from "./steps_text.js";

export const DRAWERS = { input, tokenization, embeddings, norm, attention, heads, concat, output, mlp, layers, prediction, loop };
