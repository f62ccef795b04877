"""Many prompts through a model side by side, with Pellucid's own engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from pellucid.chat import choose_template
from pellucid.gpt import GPT
from pellucid.sequence import Settings, Step
from pellucid.serve.engine import Engine
from pellucid.serve.events import Ask, Ended, EngineLimits, Event
from pellucid.template import Message


def replies(
    gpt: GPT,
    prompts: Sequence[Sequence[dict[str, str]]],
    sampling: dict[str, Any],
    seeds: Sequence[int],
    room: int = 200,
    rows: int = 128,
) -> list[tuple[str, str]]:
    """(reply, why it ended) of each conversation, as a row of `pellucid data` holds its turns, with
    the seed that stands beside it. room: tokens of a reply."""
    template = choose_template(gpt)
    stops = gpt.stop_tokens | template.stops(gpt.tokenizer)
    engine = Engine(gpt, EngineLimits(max_running=rows, max_waiting=len(prompts), chunk=4096))
    steps: list[list[str]] = [[] for _ in prompts]
    ends: list[Ended | None] = [None] * len(prompts)
    left = threading.Semaphore(0)

    def deliver(at: int, event: Event) -> None:
        if isinstance(event, Step):
            steps[at].append(event.text)
        elif isinstance(event, Ended):
            ends[at] = event
            left.release()

    engine.start()
    try:
        for at, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            said = [Message(turn["role"], turn["content"]) for turn in prompt]  # type: ignore[arg-type]
            ids = [*gpt.tokenizer.rules.begin, *template.render(gpt.tokenizer, said)]
            settings = Settings.of(
                **sampling, seed=seed, max_tokens=room, stop_tokens=stops, alternatives=0
            )
            ask = Ask(prompt=tuple(ids[-(gpt.hparams.n_ctx - room) :]), settings=settings)
            engine.submit(ask, lambda event, at=at: deliver(at, event))  # type: ignore[misc]
        for _ in prompts:
            left.acquire()
    finally:
        engine.stop(10)
    if engine.failure is not None:
        raise engine.failure
    found = []
    for pieces, end in zip(steps, ends, strict=True):
        assert end is not None
        if end.error is not None:
            raise end.error
        found.append(("".join(pieces).strip(), end.reason or ""))
    return found
