/* The talk as one file, with no server: the model runs in it. */

import { Machine } from "../machine/machine.js";
import { drawAgain } from "../picture/colour.js";
import { useGlyphs } from "../picture/notation.js";
import { FRAMES } from "./frames.js";
import { KEYS } from "./keys.js";
import { Talk, readPlace, writePlace } from "./talk.js";

const content = JSON.parse(document.getElementById("content").textContent);
useGlyphs(content.glyphs);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);

const machine = new Machine(content.machine);
const host = document.getElementById("main");
const talk = new Talk({ host, content, machine, place: place(), onplace });
addEventListener("hashchange", () => talk.show(place()));

function place() {
  return readPlace(Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? "")));
}

function onplace(now) {
  const known = Object.entries(writePlace(now)).filter(([, value]) => value !== null);
  history.replaceState(null, "", `#/talk?${new URLSearchParams(known.map(([name, value]) => [name, String(value)]))}`);
}

/* For tests, and for whoever opens the browser's console. */
globalThis.pellucid = { content, frames: FRAMES, keys: KEYS, talk };
