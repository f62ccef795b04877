/* Known circuits, prepared; written by docs/generate/gallery.py. */

/* prettier-ignore */
export const EXAMPLES = [
  {"name": "king", "title": "One head sends the king to jail", "look": "Head 0 of layer 1 is off: the king went home to “␣court” instead of “␣jail”. Press L1H0 to switch it on again.", "model": "talk", "text": "The king went home to", "changes": [{"name": "attn.z", "layer": 1, "head": 0, "op": "suppress"}], "length": 3, "stop": null},
  {"name": "induction", "title": "Induction: it has seen this before", "look": "At the second c the induction head L1H0 looks at d, which followed the first c, and writes it; off, as here, nothing is repeated.", "model": "induction", "text": "abcdeabc", "changes": [{"name": "attn.z", "layer": 1, "head": 0, "op": "suppress"}], "length": 3, "stop": "attn.pattern,1,0,7"},
  {"name": "previous-token", "title": "Previous token: the other half of induction", "look": "L0H0 looks one token back and notes what it finds; without it the induction head has nothing to find, although nothing was done to that one.", "model": "induction", "text": "abcdeabc", "changes": [{"name": "attn.z", "layer": 0, "head": 0, "op": "suppress"}], "length": 3, "stop": "attn.pattern,0,0,7"},
  {"name": "duplicate-token", "title": "Duplicate token: where it stood before", "look": "L1H1 looks at the same letter, earlier: the c at 7 at the c at 2. It writes nothing: switching it off changes no word.", "model": "induction", "text": "abcdeabc", "changes": [{"name": "attn.z", "layer": 1, "head": 1, "op": "suppress"}], "length": 3, "stop": "attn.pattern,1,1,7"},
];
