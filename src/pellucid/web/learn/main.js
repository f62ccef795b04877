/* The page of a training as one file. */

import { useGlyphs } from "../picture/notation.js";
import { framed, listen } from "./frame.js";
import { Learned } from "./view.js";

const { glyphs, learned } = JSON.parse(document.getElementById("content").textContent);
useGlyphs(glyphs);
const view = new Learned({ host: framed(learned), data: learned, place: { step: Number(location.hash.slice(1)) || 0 } });
listen(view);

/* For tests, and for whoever opens the browser's console. */
globalThis.pellucid = { view };
