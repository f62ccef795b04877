"""What ablating each part alone does: one number for every head, MLP or token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..draw.notation import head_name, percent, written
from ..draw.pictures import Bars, Heat, Picture, Section, Tabs, Tokens
from ..sequence import Alternative
from ..visible import quoted
from .finding import SATURATED, Finding, head_names, layer_names, shortened

__all__ = ["Kind", "Over", "Sweep"]

Kind = Literal["zero", "mean", "resample"]  # what takes a part's place
Over = Literal["heads", "mlps", "positions"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep(Finding):
    """What ablating each part alone does to the prediction after `position`.

    text: up to there. over: "heads", arrays are [layer, head]; "mlps": [layer]; "positions":
    [position]. target_logprob, target_lead: before; the lead is how far the target's logit is above
    all others' together, which says something where its probability is all but 1.
    divergence: KL(before ‖ after), nats. logit_change, logprob_change, lead_change: of the target.
    top_ids, top_tokens: the likeliest token after each ablation.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    position: int
    over: Over
    how: Kind
    target_id: int
    target: str
    target_logprob: float
    target_lead: float
    before: tuple[Alternative, ...]
    divergence: np.ndarray
    logit_change: np.ndarray
    logprob_change: np.ndarray
    lead_change: np.ndarray
    top_ids: np.ndarray
    top_tokens: tuple[str, ...]  # of top_ids, flattened

    def strongest(self, n: int = 5) -> list[tuple[tuple[int, ...], float]]:
        """The n parts whose ablation costs the target most: (index, logprob_change)."""
        # The lead falls with the probability, and does not stop where that is all but 1.
        order = np.argsort(self.lead_change, axis=None, kind="stable")[:n]
        places = [np.unravel_index(int(i), self.logprob_change.shape) for i in order]
        return [(tuple(int(i) for i in at), float(self.logprob_change[at])) for at in places]

    @property
    def saturated(self) -> bool:
        """Whether the target is so likely that changes of its probability would all be 0.00."""
        return math.exp(self.target_logprob) >= SATURATED

    def shown(self) -> tuple[np.ndarray, str, str]:
        """The numbers that say most: (one of each part, what they are, how to read them)."""
        target = quoted(self.target)
        if self.saturated:
            return (
                self.lead_change,
                "lead",
                f"Change of how far the logit of {target} is above all others together. Orange: "
                "less far without it.",
            )
        return (
            self.logprob_change,
            "log-probability",
            f"Change of the log-probability of {target}, in nats. Orange: less likely without it.",
        )

    def changes(self) -> tuple[str, ...]:
        """Of each part, flattened: what would be said without it, where that is not the target."""
        pairs = zip(self.top_ids.ravel(), self.top_tokens, strict=True)
        return tuple(f"→ {quoted(token)}" if int(i) != self.target_id else "" for i, token in pairs)

    def picture(
        self, values: np.ndarray, caption: str, what: str, *, signed: bool = True
    ) -> Picture:
        """Numbers of this sweep's shape, one for each part."""
        notes = self.changes()
        if self.over == "heads":
            n_layer, n_head = values.shape
            return Heat(
                values=values,
                rows=layer_names(n_layer),
                columns=head_names(n_head),
                scale="diverging" if signed else "sequential",
                form="signed" if signed else "number",
                notes=notes,
                what=what,
                caption=caption,
            )
        if self.over == "mlps":
            return Bars(
                labels=layer_names(len(values)),
                values=values,
                form="signed" if signed else "number",
                notes=notes,
                caption=caption,
            )
        return Tokens(
            tokens=self.tokens[: self.position + 1],
            values=values,
            scale="diverging" if signed else "sequential",
            form="signed" if signed else "number",
            notes=notes,
            what=what,
            caption=caption,
        )

    def sections(self) -> list[Section]:
        part = {"heads": "head", "mlps": "MLP", "positions": "token"}[self.over]
        target = quoted(self.target)
        values, what, caption = self.shown()
        pictures = {
            what: self.picture(values, caption, what),
            "logit": self.picture(
                self.logit_change,
                f"Change of the logit of {target}. Orange: lower without it.",
                "logit",
            ),
            "KL": self.picture(
                self.divergence,
                "How far the whole distribution moves: KL(before ‖ after), in nats.",
                "KL",
                signed=False,
            ),
        }
        if self.saturated:
            pictures["log-probability"] = self.picture(
                self.logprob_change,
                f"Change of the log-probability of {target}, in nats.",
                "log-probability",
            )
        shown: list[Picture] = [Tabs(pictures=pictures, caption="Show")]
        if self.over == "heads":
            shown.append(self._needed())
        return [
            Section(
                kind="Sweep",
                title=f"Ablation of every {part}",
                how=f"Each {part} ablated alone ({self.how}): what that does to the prediction of "
                f"{target} ({percent(math.exp(self.target_logprob))} before"
                + (
                    f", {written(self.target_lead, 'signed')} logits above all others together)."
                    if self.saturated
                    else ")."
                ),
                about=shortened(self.text),
                pictures=tuple(shown),
            )
        ]

    def _needed(self) -> Bars:
        values, n_head, notes = self.shown()[0], self.logprob_change.shape[1], self.changes()
        ranked = [at for at, _ in self.strongest(6)]
        ranked = [at for at in ranked if values[at] < 0] or ranked[:1]
        return Bars(
            labels=tuple(head_name(at[0], at[1]) for at in ranked),
            values=np.asarray([values[at] for at in ranked]),
            form="signed",
            notes=tuple(notes[at[0] * n_head + at[1]] for at in ranked),
            caption="The heads it needs most; → what it would say without.",
        )
