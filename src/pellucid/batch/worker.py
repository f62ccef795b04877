"""A model that computes rows.

The engine generates for many documents at once (`rows`); `row` is the plain way, one document
after another, and a test holds the two together.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..chat import choose_template
from ..errors import InputError
from ..evaluate import perplexity
from ..inspect import attribute, trace
from ..sequence import Reason, Settings, Step
from ..serve.engine import Engine
from ..serve.events import Ask, Ended, EngineLimits, Event
from .documents import Item
from .job import Job

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Worker"]


class Worker:
    """job: what to compute. gpt: the job's model."""

    def __init__(self, job: Job, gpt: GPT) -> None:
        """Raises InputError for settings that the model cannot meet."""
        self.job, self.gpt = job, gpt
        self._template = choose_template(gpt, job.template)
        window = job.settings.window(gpt.hparams)
        most = job.settings.max_tokens
        reply = window // 2 if most is None else most
        self._room = max(1, window - reply)
        n = min(job.rows, 32)
        self._engine = Engine(gpt, EngineLimits(max_running=n, max_waiting=job.rows))
        self._engine.start()

    def close(self) -> None:
        self._engine.stop(10)

    def rows(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """What `job.schema` names, for each document. Raises InputError for one that cannot be."""
        prepared = [self._prepared(item) for item in items]
        drawn = self._generated([(row["prompt"], settings) for row, settings in prepared])
        for (row, _), (steps, reason) in zip(prepared, drawn, strict=True):
            row.update(_written(steps, reason))
        return [
            row | self._findings(item, row) for item, (row, _) in zip(items, prepared, strict=True)
        ]

    def row(self, item: Item) -> dict[str, Any]:
        """The same of one document, by `GPT.generate`."""
        row, settings = self._prepared(item)
        generation = self.gpt.generate(row["prompt"], settings)
        row.update(_written(generation.steps, generation.reason))
        return row | self._findings(item, row)

    def _prepared(self, item: Item) -> tuple[dict[str, Any], Settings]:
        """A document's row up to its prompt, and how that goes on."""
        gpt, settings = self.gpt, self.job.settings
        stops = gpt.stop_tokens if settings.stop_tokens is None else settings.stop_tokens
        if item.turns:
            ids = [*gpt.tokenizer.rules.begin, *self._template.render(gpt.tokenizer, item.turns)]
            stops |= self._template.stops(gpt.tokenizer)
        else:
            ids = gpt.encode(item.text)
        if not ids:
            raise InputError(f"{item.id} has no token to go on from")
        said, seed = item.sha256, settings.seed or 0
        digest = hashlib.sha256(f"{seed}\0{item.id}\0{said}".encode("utf-8", "surrogatepass"))
        own = int.from_bytes(digest.digest()[:8], "little")
        prompt = ids[-self._room :]
        row = {
            "id": item.id,
            "sha256": said,
            "n_tokens": len(ids),
            "n_left_out": len(ids) - len(prompt),
            "prompt": prompt,
            "seed": own,
        }
        return row, settings.changed(stop_tokens=stops, seed=own, alternatives=0)

    def _generated(
        self, asked: Sequence[tuple[Sequence[int], Settings]]
    ) -> list[tuple[list[Step], Reason | None]]:
        """All of them through the engine, side by side."""
        steps: list[list[Step]] = [[] for _ in asked]
        ends: list[Ended | None] = [None] * len(asked)
        left = threading.Semaphore(0)

        def deliver(at: int, event: Event) -> None:
            if isinstance(event, Step):
                steps[at].append(event)
            elif isinstance(event, Ended):
                ends[at] = event
                left.release()

        for at, (prompt, settings) in enumerate(asked):
            ask = Ask(prompt=tuple(prompt), settings=settings)
            self._engine.submit(ask, lambda event, at=at: deliver(at, event))  # type: ignore[misc]
        for _ in asked:
            left.acquire()
        if self._engine.failure is not None:
            raise self._engine.failure
        reasons = []
        for end in ends:
            assert end is not None
            if end.error is not None:
                raise end.error
            reasons.append(end.reason)
        return list(zip(steps, reasons, strict=True))

    def _findings(self, item: Item, row: dict[str, Any]) -> dict[str, Any]:
        """The engine rests: its thread shares the model with this one."""
        job, gpt, prompt = self.job, self.gpt, row["prompt"]
        found: dict[str, Any] = {}
        if job.loss:
            text = [item.text] if not item.turns else [row["prompt"]]
            try:
                score = perplexity(gpt, text)
                found |= {"loss": score.nats_per_token, "n_scored": score.n_tokens}
            except InputError:  # a single token, and nothing before it
                found |= {"loss": None, "n_scored": 0}
        if job.heads:
            shares = attribute(gpt, prompt, row["ids"][0] if row["ids"] else None).heads
            largest = np.argsort(-shares, axis=None, kind="stable")[: job.heads]
            places = (np.unravel_index(int(at), shares.shape) for at in largest)
            found["heads"] = [
                {"layer": int(layer), "head": int(head), "logit": float(shares[layer, head])}
                for layer, head in places
            ]
        if job.names:
            last = [at for at in job.positions if -len(prompt) <= at < len(prompt)]
            values = trace(gpt, prompt, job.names, layers=job.layers, positions=last)
            found["values"] = [
                {
                    "name": name,
                    "shape": list(array.shape),
                    "data": np.asarray(array, np.float32).ravel(),
                }
                for name, array in values.arrays.items()
            ]
        return found


def _written(steps: Sequence[Step], reason: Reason | None) -> dict[str, Any]:
    return {
        "text": "".join(step.text for step in steps),
        "ids": [step.token for step in steps],
        "logprobs": [step.logprob for step in steps],
        "reason": reason,
    }
