"""Completions that are watched or changed: beside the streams, with a cache of their own.

They are asked for as any other (`submit`, `cancel`) and deliver the same events, so that the routes
treat both alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import InputError
from ..generate import Generation
from ..inspect import Intervention, Recorder, Trace, intervene
from ..inspect.finding import chosen
from ..inspect.interventions import check
from ..sampling import log_softmax
from ..sequence import Alternative, Sequence, likeliest
from .beside import Beside, Cancelled, Job
from .events import Ask, Began, Deliver, Ended, Scored, Waits, WatchedStep
from .kept import Kept
from .records import Records

if TYPE_CHECKING:
    from ..gpt import GPT
    from ..inspect.cost import Indices, Names

__all__ = ["BUDGET", "TraceAsk", "Watch", "Watched"]

BUDGET = 32 << 20  # bytes of a trace, and of what patches take from their sources


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceAsk:
    """names, layers, heads: as for a `Recorder`. positions: only these, from the window's
    beginning; "new": of each generated token, the position that it was predicted from. top_k: of
    a record's values only so many, the largest."""

    names: Names
    layers: Indices = None
    heads: Indices = None
    positions: Indices | Literal["new"] = "new"
    top_k: int | None = None

    def recorder(self, gpt: GPT) -> Recorder:
        """Raises InputError for what this model does not have."""
        positions = self.positions
        if positions == "new":
            positions = -1
        elif positions is not None:
            listed = [positions] if isinstance(positions, int) else list(positions)
            if any(position < 0 for position in listed):
                raise InputError(
                    'positions count from the window\'s beginning: 0, 1, 2, …; or "new"'
                )
            positions = chosen(listed, gpt.hparams.n_ctx, "position")
        return Recorder(
            gpt,
            self.names,
            layers=self.layers,
            heads=self.heads,
            positions=positions,
            budget_bytes=BUDGET,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a request wants to see, and to change. owner: who may ask for its trace."""

    owner: str = ""
    trace: TraceAsk | None = None
    interventions: tuple[Intervention, ...] = ()


class Watched:
    """Runs the asks of one request, as an engine would. traces: where theirs are kept, for `owner`.
    new_trace: a name for the next one."""

    def __init__(
        self, beside: Beside, traces: Kept[Trace], watch: Watch, new_trace: Callable[[], str]
    ) -> None:
        self._beside = beside
        self._traces = traces
        self._watch = watch
        self._new_trace = new_trace

    def submit(self, ask: Ask, deliver: Deliver) -> Job:
        """deliver: called on the thread that computes, with `Waits` on any. Raises InputError and
        ContextError for what the model cannot meet, OverBudget where a trace would be too large,
        Busy and Stopped."""
        gpt, watch = self._beside.gpt, self._watch
        sequence = ask.sequence(gpt)
        check(gpt, watch.interventions, budget_bytes=BUDGET)
        trace = None
        if watch.trace is not None:
            if sequence.reason is not None:
                raise InputError("nothing is generated here, so there is nothing to trace")
            cost = watch.trace.recorder(gpt).cost(0, len(sequence.tokens), sequence.most_tokens)
            cost.check(BUDGET)
            trace = self._new_trace()
        one = _One(ask, sequence, watch, deliver, trace, self._traces)
        return self._beside.submit(one.work, one.ended, one.waits)

    def cancel(self, job: Job) -> None:
        """Give it up; nothing of it is kept. It may have ended already."""
        self._beside.cancel(job)


class _One:
    """One ask, from its first event to its last."""

    def __init__(
        self,
        ask: Ask,
        sequence: Sequence,
        watch: Watch,
        deliver: Deliver,
        trace: str | None,
        traces: Kept[Trace],
    ) -> None:
        self._ask = ask
        self._sequence = sequence
        self._watch = watch
        self._deliver = deliver
        self._trace = trace
        self._traces = traces

    def work(self, job: Job) -> None:
        gpt, ask, asked = job.gpt, self._ask, self._watch.trace
        # Who changes values may well leave the numbers behind; that is told (`_finite`).
        with np.errstate(all="ignore"):
            tap = intervene(gpt, self._watch.interventions, budget_bytes=BUDGET)
            recorder = None if asked is None else asked.recorder(gpt)
            begun = self._sequence
            n, known = len(begun.tokens), len(begun.steps)
            # To the recorder what is there already is a prompt.
            left = begun.settings.changed(max_tokens=max(0, begun.most_tokens - n))
            generation = Generation(
                gpt.model, gpt.tokenizer, begun.tokens, left, tap=tap, record=recorder
            )
            generation.sequence = begun
            self._deliver(Began(sequence=begun, cached_tokens=0, trace=self._trace))
            if ask.score_prompt:
                self._deliver(self._scored(gpt, generation))
            records = None
            if recorder is not None and asked is not None:
                records = Records(recorder, asked.top_k)
            for step in islice(generation, known, None):
                job.check()
                _finite(step.logprob)
                seen = None if records is None else records.take(step.position - 1)
                fields = {name: getattr(step, name) for name in step.__slots__}
                self._deliver(WatchedStep(**fields, seen=seen))
            if recorder is not None and self._trace is not None:
                trace = recorder.trace(generation)
                self._traces.put(self._watch.owner, self._trace, trace, trace.n_bytes)

    def waits(self, ahead: int) -> None:
        with suppress(Exception):  # as in `ended`
            self._deliver(Waits(ahead=ahead))

    def ended(self, error: Exception | None) -> None:
        if isinstance(error, Cancelled):
            event = Ended()
        elif error is not None:
            event = Ended(error=error)
        else:
            event = Ended(reason=self._sequence.reason)
        with suppress(Exception):  # its client is gone: nobody else's matter
            self._deliver(event)

    def _scored(self, gpt: GPT, generation: Generation) -> Scored:
        """What the model, as it is changed here, thought of the prompt's own tokens."""
        sequence, cache = generation.sequence, gpt.model.new_cache()
        prompt, n = sequence.prompt, sequence.settings.alternatives
        logprobs: list[float | None] = [None]
        alternatives: list[tuple[Alternative, ...]] = [()]
        for low in range(0, len(prompt) - 1, _ROWS):
            follow = prompt[low + 1 : low + 1 + _ROWS]
            logits = gpt.forward(prompt[low : low + len(follow)], cache, generation.tap)
            for row, token in zip(gpt.model.backend.to_numpy(logits), follow, strict=True):
                exact = log_softmax(np.asarray(row, np.float64))
                _finite(float(exact[token]))
                logprobs.append(float(exact[token]))
                alternatives.append(likeliest(exact, n, gpt.tokenizer))
        return Scored(logprobs=tuple(logprobs), alternatives=tuple(alternatives))


_ROWS = 64  # of the prompt whose logits are held at once


def _finite(logprob: float) -> None:
    if not math.isfinite(logprob):
        raise InputError(
            "under these interventions the model's numbers overflow, and no token can be chosen"
        )
