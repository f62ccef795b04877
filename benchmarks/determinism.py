"""One greedy prompt, again and again, in whatever company: how many different answers? (Row D4.)

    python benchmarks/determinism.py [--model chat] [--size gpt2] [--runs 1000] [--most 16]
        [--tokens 32] [--strict] [--json FILE]

Each run puts the prompt beside 0 to `most` - 1 others, of random lengths and settings, which join
and leave as they like; every second run begins without what earlier ones left in the cache of
prefixes. Printed: the number of unique answers as ids, the number of unique lists of the
log-probabilities of their tokens (1 with --strict), and how far these lie apart at most. Exit code
1 where there is more than one answer, with --strict more than one list.

--size takes random weights of that shape instead of a model. Of random weights the two likeliest
tokens are often as good as equally likely: the worst case.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

import pellucid
from pellucid.backend import get_backend
from pellucid.gpt import GPT
from pellucid.hparams import SIZES
from pellucid.model import Model
from pellucid.sequence import Settings, Step
from pellucid.serve.engine import Engine
from pellucid.serve.events import Ask, Ended, EngineLimits, Event
from pellucid.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.random_checkpoint import random_tensors, vocabulary_files


class Text:
    """One request. steps: as they come."""

    def __init__(self, engine: Engine, prompt: list[int], **settings: Any) -> None:
        self.steps: list[Step] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        ask = Ask(prompt=tuple(prompt), settings=Settings.of(stop_tokens=[], **settings))
        engine.submit(ask, self._deliver)

    def _deliver(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.error = event.error
            self.ended.set()
        elif isinstance(event, Step):
            self.steps.append(event)

    def wait(self) -> None:
        self.ended.wait()
        if self.error is not None:
            raise self.error


def made(size: str) -> GPT:
    hparams = SIZES[size]
    model = Model.of(hparams, random_tensors(hparams, seed=1), get_backend("numpy"))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Tokenizer.from_files(*vocabulary_files(Path(folder), hparams.n_vocab))
    return GPT(model, tokenizer, name=size)


def answers(gpt: GPT, options: argparse.Namespace) -> list[list[Step]]:
    """One for each run."""
    rng = np.random.default_rng(0)
    n_vocab, n_ctx = gpt.hparams.n_vocab, gpt.hparams.n_ctx
    tokens = min(options.tokens, n_ctx // 2)
    prompt = [int(i) for i in rng.integers(0, n_vocab - 1, min(40, n_ctx - tokens))]
    engine = Engine(gpt, EngineLimits(max_running=options.most), strict=options.strict)
    engine.start()
    found = []
    for number in range(options.runs):
        if number % 2:
            engine.pool.forget()  # nothing runs: the prefix is computed anew
        others = []
        count, place = int(rng.integers(0, options.most)), int(rng.integers(0, options.most))
        mine = None
        for index in range(count + 1):
            if index == min(place, count):
                mine = Text(engine, prompt, max_tokens=tokens, greedy=True, alternatives=0)
                continue
            length = int(rng.integers(1, min(100, n_ctx - 2)))
            ids = [int(i) for i in rng.integers(0, n_vocab - 1, length)]
            if rng.random() < 0.3:  # begins like the other
                ids = prompt[: int(rng.integers(1, len(prompt)))]
            most = int(rng.integers(1, tokens + 1))
            others.append(Text(engine, ids, max_tokens=most, alternatives=0, seed=number))
        assert mine is not None
        for each in (mine, *others):
            each.wait()
        found.append(mine.steps)
    engine.stop(30)
    if engine.failure is not None:
        raise engine.failure
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="chat")
    parser.add_argument("--size", choices=sorted(SIZES))
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--most", type=int, default=16, help="texts at once")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    gpt = made(options.size) if options.size else pellucid.load(options.model)
    found = answers(gpt, options)
    ids = {tuple(step.token for step in steps) for steps in found}
    logprobs = {tuple(step.logprob for step in steps) for steps in found}
    common = [steps for steps in found if [s.token for s in steps] == [s.token for s in found[0]]]
    apart = np.ptp([[step.logprob for step in steps] for steps in common], axis=0)
    result = {
        "model": options.size or options.model,
        "strict": options.strict,
        "runs": len(found),
        "unique answers": len(ids),
        "unique log-probabilities": len(logprobs),
        "apart": float(apart.max()),
    }
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result), "utf-8")
    sys.exit(len(ids) > 1 or (options.strict and len(logprobs) > 1))


if __name__ == "__main__":
    main()
