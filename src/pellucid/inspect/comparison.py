"""A text that goes on twice, as the model is and as it is changed, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..draw.compare import Compare
from ..draw.notation import head_name, percent
from ..draw.pictures import Heat, Lines, Section
from ..errors import InputError
from ..sequence import Reason
from ..visible import quoted
from .cost import BUDGET
from .finding import (
    Finding,
    compared,
    head_names,
    layer_names,
    likeliest,
    read,
    token_names,
    whole,
)
from .interventions import Intervention, intervene
from .recorder import Recorder

if TYPE_CHECKING:
    from ..generate import Generation
    from ..gpt import GPT

__all__ = ["MEET", "Comparison", "Continuation", "compare"]

MEET = 8  # tokens that two continuations share again, side by side, when they have met
_NAMES = ("as it is", "changed")
_ENDS = {
    "stop token": "ends here",
    "stop text": "ends here",
    "length": "goes on",
    "context window full": "the window is full",
    "met": "they have met",
}


class Continuation(NamedTuple):
    """ids, tokens: what was generated, the token that ended it too. logprobs [step]: what the model
    gave each, changed or not as it was. reason: why it ended; "met" where it was going on as the
    other does."""

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    logprobs: np.ndarray
    reason: Reason | Literal["met"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Finding):
    """A text's continuation, and the same under `changes` (their labels), with the same seed.

    parted: the first step at which they differ, None where they never do. logits_before,
    logits_after [n_vocab]: what each chose from there (of the last step where they never part).
    heads [layer, head]: how differently a head looks in the two, where the tokens from `parted` on
    (from the first, where they never part) were predicted, as far as both go: half of the
    differences of its weights, summed; the mean over those tokens. 0: it looks at the same, 1: at
    nothing that it looked at. texts: the tokens that were likeliest there, by id.
    """

    prompt: str
    prompt_ids: tuple[int, ...]
    changes: tuple[str, ...]
    before: Continuation
    after: Continuation
    parted: int | None
    logits_before: np.ndarray
    logits_after: np.ndarray
    heads: np.ndarray
    texts: dict[int, str]

    def strongest(self, n: int = 5) -> list[tuple[tuple[int, int], float]]:
        """The n heads that look most differently: ((layer, head), how much); none that does not."""
        order = np.argsort(-self.heads, axis=None, kind="stable")[:n]
        places = [divmod(int(i), self.heads.shape[1]) for i in order]
        return [(at, float(self.heads[at])) for at in places if self.heads[at] > 0]

    def sections(self) -> list[Section]:
        columns = Compare(
            names=_NAMES,
            before=self.before.tokens,
            after=self.after.tokens,
            shares_before=np.exp(self.before.logprobs),
            shares_after=np.exp(self.after.logprobs),
            first=len(self.prompt_ids),
            ends=(_ENDS[self.before.reason], _ENDS[self.after.reason]),
        )
        said = "They say the same to the end."
        if self.parted is not None:
            place = len(self.prompt_ids) + self.parted
            words = [quoted(one.tokens[self.parted]) for one in (self.before, self.after)]
            said = f"They part at position {place}: {words[0]} becomes {words[1]}."
        most = ", ".join(f"{head_name(*at)} ({percent(share)})" for at, share in self.strongest(3))
        looks = (
            f"The heads that look most differently: {most}."
            if most
            else "No head looks at anything else: what was changed lies behind them all."
        )
        bars = compared(self.texts, self.logits_before, self.logits_after, names=_NAMES)
        last = self.parted is None
        asked = "What may come at the last token." if last else "What may come where they part."
        return [
            Section(
                kind="Comparison",
                title="Before and after",
                how=f"How it goes on as it is and with {', '.join(self.changes) or 'no change'}, "
                "the same seed for both; the percentages are the model's own.",
                about=self.prompt,
                pictures=(
                    columns,
                    Lines(lines=(said, looks)),
                    replace(bars, caption=f"{asked} {bars.caption}".rstrip()),
                    Heat(
                        values=self.heads,
                        rows=layer_names(self.heads.shape[0]),
                        columns=head_names(self.heads.shape[1]),
                        form="percent",
                        high=1.0,
                        what="looks elsewhere",
                        caption="Of each head's attention, how much goes elsewhere.",
                    ),
                ),
            )
        ]


def compare(
    gpt: GPT,
    text: str | Sequence[int],
    interventions: Iterable[Intervention],
    *,
    max_tokens: int = 40,
    seed: int = 0,
    budget_bytes: int = BUDGET,
    **generation: Any,
) -> Comparison:
    """Go on from a text (or ids) with interventions and without, token by token, until both have
    ended or have met: `MEET` tokens the same again after they had parted.

    generation: the arguments of `GPT.generate`, such as greedy=True. budget_bytes: of what is kept
    of each, and of what patches take from their sources. Raises InputError for interventions that
    do not fit this model and where no token can follow, ContextError for a text beyond the window.
    """
    ids = read(gpt, text)[0]
    declared = tuple(interventions)
    tap = intervene(gpt, declared, budget_bytes=budget_bytes)
    recorders = [
        Recorder(gpt, ["attn.pattern", "logits"], positions=-1, budget_bytes=budget_bytes)
        for _ in range(2)
    ]
    one, other = (
        gpt.generate(ids, max_tokens=max_tokens, seed=seed, tap=own, record=record, **generation)
        for own, record in zip((None, tap), recorders, strict=True)
    )
    if one.finished:
        raise InputError("no token can follow: the window is full, or max_tokens is 0")
    parted = _run(one, other)
    before, after = (_continuation(gpt, each) for each in (one, other))
    n = min(len(before.ids), len(after.ids))
    traces = [recorder.trace(each) for recorder, each in zip(recorders, (one, other), strict=True)]
    first, at = (0, n - 1) if parted is None else (parted, parted)
    looks = [
        np.stack(
            [
                trace[f"blocks.{layer}.attn.pattern"][:, first:n, : len(ids) + n - 1]
                for layer in range(gpt.hparams.n_layer)
            ]
        ).astype(np.float64)
        for trace in traces
    ]
    logits = [np.asarray(trace["logits"][at]) for trace in traces]
    return Comparison(
        prompt=whole(gpt, ids),
        prompt_ids=ids,
        changes=tuple(each.label for each in declared),
        before=before,
        after=after,
        parted=parted,
        logits_before=logits[0],
        logits_after=logits[1],
        heads=np.abs(looks[0] - looks[1]).sum(-1).mean(-1) / 2,
        texts={each.token: each.text for row in logits for each in likeliest(gpt, row)},
    )


def _run(one: Generation, other: Generation) -> int | None:
    """Both in step, to their ends or until they have met -> the step at which they part."""
    parted: int | None = None
    same = 0
    for at, pair in enumerate(zip_longest(one, other)):
        tokens = [None if step is None else step.token for step in pair]
        if tokens[0] != tokens[1]:
            parted = at if parted is None else parted
            same = 0
        elif parted is not None:
            same += 1
            if same == MEET:
                break
    return parted


def _continuation(gpt: GPT, one: Generation) -> Continuation:
    steps = one.steps_so_far
    ids = tuple(step.token for step in steps)
    return Continuation(
        text=one.so_far,
        ids=ids,
        tokens=token_names(gpt, ids),
        logprobs=np.array([step.logprob for step in steps]),
        reason=one.sequence.reason or "met",
    )
