/* What could have come: the likeliest tokens, bent by the sampling's sliders; each a way to take. */

import { distribution } from "../../picture/distribution.js";
import { make } from "../../picture/elements.js";
import { visible, written } from "../../picture/notation.js";
import { waiting } from "./waiting.js";

/* source: { logits(signal, tell): a promise of {logits, ids, texts}, token, settings, pick(id) or null } */
export function could(host, { logits, token, settings, pick, signal }) {
  const known = kept(token);
  waiting(host, "Computing what could have come…", async (tell) => {
    const spec = await logits(signal, tell);
    const chosen = {
      temperature: settings.greedy ? 0 : (settings.temperature ?? 1),
      topK: settings.top_k ?? null,
      topP: settings.top_p ?? null,
    };
    return distribution({ ...spec, chosen, taken: token.id, pick });
  });
  if (known) host.append(known);
}

/* As it was kept with the token, until the whole is here. */
function kept({ alternatives, id }) {
  if (!alternatives?.length) return null;
  const rows = alternatives.map((other) =>
    make(
      "li",
      { className: other.id === id ? "taken" : "" },
      make("span", { className: "label token plain", textContent: visible(other.text) }),
      make("span", { className: "track" }),
      make("span", { className: "number", textContent: written(Math.exp(other.logprob), "percent") }),
    ),
  );
  return make("ul", { className: "bars distribution kept" }, ...rows);
}
