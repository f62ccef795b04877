/* The loop: predict, put behind the text, feed back in, until the window is full or a stop token. */

import { make } from "../picture/elements.js";
import { bar } from "../picture/bars.js";
import { counted, written } from "../picture/notation.js";
import { player } from "./step.js";

const SLOTS = 16; /* of a window, each with a place of its own */

export function loop({ pass, feed }) {
  const { steps, reason, window, stops } = pass.loop();
  const begin = pass.first + pass.pieces.length;
  const end = begin + steps.length;
  const slots = make("ol", { className: "window", "aria-label": "The context window" });
  const said = make("p", { className: "loop-said", "aria-live": "polite" });
  const list = make("ul", { className: "bars predicted-bars" });
  const filled = make("p", { className: "shapes" });
  const names = [...pass.pieces.map(({ shown }) => shown), ...steps.map(({ token }) => pass.show(token))];
  let now = steps.length;
  const show = (at, moved) => {
    now = at;
    const n = pass.pieces.length + at;
    const cells = names.slice(0, n).map((name, i) => {
      const fresh = moved && i === n - 1 && at > 0;
      const kind = i < pass.pieces.length ? "given" : "predicted";
      return make("li", { className: `${kind}${fresh ? " drops" : ""}`, textContent: name });
    });
    const empty = window <= SLOTS ? window - pass.first - n : 0;
    slots.replaceChildren(
      ...(pass.first ? [make("li", { className: "given", textContent: `… ${counted(pass.first)}` })] : []),
      ...cells,
      ...Array.from({ length: Math.max(0, empty) }, () => make("li", { className: "empty", textContent: "·" })),
    );
    filled.textContent = `window: ${counted(pass.first + n)} of ${counted(window)}`;
    const last = steps[at - 1];
    const before = names
      .slice(0, n - 1)
      .join("")
      .replace(/␣/g, " ");
    if (!last) said.textContent = steps.length ? "Given, before anything is predicted." : `It ends at once: ${reason}.`;
    else
      said.textContent = `“${before}” is fed in; “${pass.show(last.token)}” comes out, with ${written(last.share, "percent")}.${at === steps.length && reason ? ` It ends: ${reason} (${counted(pass.first + n)} of ${counted(window)} tokens).` : ""}`;
    const rows = (last?.others ?? []).map(({ token, share }) =>
      make(
        "li",
        { "data-value": share },
        make("span", { className: "label token plain", textContent: pass.show(token) }),
        make("span", { className: "track" }, bar(share, 1, false, "bar")),
        make("span", { className: "number", textContent: written(share, "percent") }),
      ),
    );
    list.replaceChildren(...rows, ...Array.from({ length: Math.max(0, 5 - rows.length) }, () => make("li", { "aria-hidden": "true" })));
  };
  const controls = player("the loop", steps.length, steps.length, show);
  const again =
    feed &&
    make("button", {
      type: "button",
      className: "option",
      textContent: "Walk this text",
      onclick: () => feed([...pass.pieces.map(({ id }) => id), ...steps.slice(0, now).map(({ token }) => token)]),
    });
  return {
    known: {
      n_ctx: counted(pass.hparams.n_ctx),
      stops: stops.join(", ") || "none",
      more: "",
      reason,
      used: `${counted(end)} of ${counted(window)} tokens`,
    },
    stage: [make("div", { className: "loop-bar" }, controls.element, again), slots, filled, said, list],
    play: controls.go,
    moments: steps.length,
  };
}
