"""What inspection costs those who only talk: time between their tokens, with and without it beside.

    python benchmarks/inspection.py [--size gpt2] [--streams 4] [--tokens 128] [--seconds 10]
        [--questions lens sweep …] [--threads 2] [--json FILE]

One engine with so many streams, in this process, without HTTP: in turns alone, and with a question
asked beside again and again, about a text of so many tokens; "watched" is a
completion with a trace and an intervention, "json" an answer written as JSON. ITL: milliseconds
between two tokens of one stream. The bound (row E14) is a p99 of at most 1.5 times that of the
streams alone. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.backend import get_backend
from pellucid.cli.memory import keep_freed_memory
from pellucid.gpt import GPT
from pellucid.hparams import SIZES
from pellucid.inspect import Intervention
from pellucid.model import Model
from pellucid.sequence import Settings, Step
from pellucid.serve.engine import Engine
from pellucid.serve.events import Ask, Ended, EngineLimits, Event
from pellucid.serve.inspection import Inspection
from pellucid.serve.sliced_json import to_json_in_turns
from pellucid.serve.watched import TraceAsk, Watch
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.random_checkpoint import vocabulary_files

QUESTIONS: dict[str, dict[str, Any]] = {
    "lens": {},
    "attribute": {},
    "prediction": {},
    "norms": {},
    "attention": {"layers": range(2)},
    "view": {"labels": False},
    "walk": {"max_tokens": 4},
    "heads": {},
    "neighbours": {"vector": 262},
    "steer": {"towards": "the sea", "max_tokens": 8},
    "ablate": {"heads": [(0, 1), (3, 2)], "how": "mean"},
    "sweep": {"over": "heads"},
    "patch": {},
    "why": {},
    "trace": {"names": "resid_post"},
}


class Stream:
    """One text after another, for ever. times: when each token came; None where a text began."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.times: list[float | None] = []
        self._engine, self._number = engine, number
        self._count = itertools.count()
        self.stopping = False
        self._next()

    def _next(self) -> None:
        rng = np.random.default_rng([self._number, next(self._count)])
        prompt = tuple(int(i) for i in rng.integers(0, 50_000, 8))
        self.times.append(None)
        length = 800 + 40 * self._number  # so that few begin anew at once
        settings = Settings.of(max_tokens=length, stop_tokens=[], alternatives=0, seed=self._number)
        self._engine.submit(Ask(prompt=prompt, settings=settings), self._deliver)

    def _deliver(self, event: Event) -> None:
        if isinstance(event, Step):
            self.times.append(time.perf_counter())
        elif isinstance(event, Ended) and not self.stopping:
            threading.Thread(target=self._next).start()  # the engine's thread must not wait

    def gaps(self, since: float) -> list[float]:
        pairs = itertools.pairwise(self.times[1:])
        return [b - a for a, b in pairs if a is not None and b is not None and a >= since]


def question(inspection: Inspection, kind: str, ids: Sequence[int]) -> Callable[[], None]:
    """Asks once and waits for the answer."""
    texts: dict[str, tuple[tuple[int, ...], ...]] = {
        "heads": (),
        "neighbours": (),
        "patch": (tuple(ids), tuple(ids[::-1])),
        "walk": (tuple(ids[:16]),),  # it keeps the logits of every position
    }
    arguments = QUESTIONS.get(kind, {})

    def ask() -> None:
        inquiry = inspection.ask("", kind, texts.get(kind, (tuple(ids),)), arguments)
        while not inquiry.ended:
            time.sleep(0.002)
        if inquiry.error is not None:
            raise inquiry.error
        inspection.inquiries.forget("", inquiry.id)

    def watched() -> None:
        ended = threading.Event()
        change = Intervention(name="attn.z", layer=1, op="scale", value=2.0)
        watch = Watch(trace=TraceAsk(names=["attn.pattern"], layers=[0]), interventions=(change,))
        settings = Settings.of(max_tokens=8, stop_tokens=[])

        def deliver(event: Event) -> None:
            if isinstance(event, Ended):
                ended.set()

        inspection.watched(watch).submit(Ask(prompt=tuple(ids), settings=settings), deliver)
        ended.wait()

    numbers = np.random.default_rng(0).random(200_000)
    own = {
        "watched": watched,
        "json": lambda: (to_json_in_turns(numbers.tolist, inspection.turns), None)[1],
    }
    return own.get(kind, ask)


def measured(streams: Sequence[Stream], seconds: float, work: Callable[[], None] | None) -> Any:
    """(p50, p99 of the gaps in milliseconds, how often the work was done)"""
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        if work is None:
            time.sleep(0.05)
        else:
            work()
            done += 1
    gaps = [1000 * gap for stream in streams for gap in stream.gaps(begin)]
    return {
        "p50": float(np.percentile(gaps, 50)),
        "p99": float(np.percentile(gaps, 99)),
        "n": len(gaps),
        "done": done,
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="gpt2", choices=sorted(SIZES))
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--questions", nargs="*", default=[*QUESTIONS, "watched", "json"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_freed_memory()  # as `pellucid serve` does
    hparams = SIZES[options.size]
    backend = get_backend("numpy", threads=options.threads)
    model = Model.of(hparams, initialise(hparams, seed=0), backend)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Tokenizer.from_files(*vocabulary_files(Path(folder), hparams.n_vocab))
    gpt = GPT(model, tokenizer, name=options.size)
    engine = Engine(gpt, EngineLimits(max_running=options.streams))
    inspection = Inspection(gpt, engine.turns, lambda kind: f"{kind}-{time.perf_counter_ns()}")
    engine.start()
    inspection.start()
    streams = [Stream(engine, number) for number in range(options.streams)]
    while any(len(stream.times) < 8 for stream in streams):
        time.sleep(0.1)
    ids = [int(i) for i in np.random.default_rng(1).integers(0, 50_000, options.tokens)]
    print(f"{options.streams} streams, {options.size}, a text of {options.tokens} tokens beside")
    print(f"{'beside':12} {'ITL p50':>8} {'p99':>8} {'alone':>8} {'ratio':>6} {'s each':>7}")
    alone = [measured(streams, options.seconds, None)]
    results = {}
    for kind in options.questions:
        row = measured(streams, options.seconds, question(inspection, kind, ids))
        alone.append(measured(streams, options.seconds, None))
        # A machine that others use too is faster at one time than at another.
        before, after = (each["p99"] for each in alone[-2:])
        results[kind] = row | {"alone": (before + after) / 2, "alone_each": (before, after)}
        print(
            f"{kind:12} {row['p50']:8.1f} {row['p99']:8.1f} {results[kind]['alone']:8.1f} "
            f"{row['p99'] / results[kind]['alone']:6.2f} {row['seconds'] / row['done']:7.2f}",
            flush=True,
        )
    for stream in streams:
        stream.stopping = True
    inspection.stop(30)
    engine.stop(30)
    if engine.failure is not None:
        raise engine.failure
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
