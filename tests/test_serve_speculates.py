"""The engine drafts for a text that is alone: the same events as without, from fewer passes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.gpt import GPT
from pellucid.sequence import Sequence, Settings, Step
from pellucid.serve.engine import Engine
from pellucid.serve.events import Ask, Began, Ended, EngineLimits, Event, Scored
from pellucid.speculate import Drafter, DraftModel, Lookup, Speculation
from support.models import lively, lively_gpt, model
from support.skips import BACKENDS, needs
from support.steps import same_steps
from support.work import until

TINY, _ = lively_gpt(n_ctx=48)
PROMPT = TINY.encode("to be or")
LIMITS = EngineLimits(max_running=4, chunk=4, block_size=4)


class Told:
    """A drafter that knows how each text goes on, and errs at some places."""

    def __init__(self, texts: list[tuple[int, ...]], wrong: Any = ()) -> None:
        self.texts, self.wrong = texts, set(wrong)

    def _whole(self, sequence: Sequence) -> tuple[int, ...]:
        n = len(sequence.tokens)
        return next((each for each in self.texts if each[:n] == sequence.tokens), ())

    def kind(self, sequence: Sequence) -> str | None:
        return "told" if self._whole(sequence) else None

    def draft(self, sequence: Sequence, n: int) -> tuple[int, ...]:
        at = len(sequence.tokens)
        return tuple(
            token + (i in self.wrong)
            for i, token in enumerate(self._whole(sequence)[at : at + n], at)
        )


@contextmanager
def running(drafter: Drafter, most: int = 5, gpt: GPT = TINY, **kw: Any) -> Iterator[Engine]:
    speculation = Speculation(drafter, most, adaptive=False)
    engine = Engine(gpt, LIMITS, speculation=speculation, **kw)
    engine.start()
    yield engine
    assert engine.stop(10)
    assert engine.failure is None
    assert engine.pool.n_used == 0


def asked(engine: Engine, *prompts: list[int], score: bool = False, **kw: Any) -> list[list[Event]]:
    """Texts at once, none of which is planned before all of them are there -> their events."""
    found: list[list[Event]] = [[] for _ in prompts]
    ends = [threading.Event() for _ in prompts]
    there = threading.Event()

    def deliver(which: int, event: Event) -> None:
        there.wait(60)
        found[which].append(event)
        if isinstance(event, Ended):
            ends[which].set()

    for i, prompt in enumerate(prompts):
        ask = Ask(prompt=tuple(prompt), settings=Settings.of(**kw), score_prompt=score)
        engine.submit(ask, lambda event, i=i: deliver(i, event))
    there.set()
    assert all(end.wait(60) for end in ends)
    return found


def same(events: list[Event], alone: Any, within: float = 1e-9) -> None:
    same_steps((each for each in events if isinstance(each, Step)), alone.steps, within)
    assert events[-1] == Ended(reason=alone.reason)


SETTINGS: list[dict[str, Any]] = [
    {"greedy": True},
    {"greedy": True, "max_tokens": 7},
    {"greedy": True, "n_ctx": 21},
    {"seed": 3},
    {"seed": 4, "temperature": 0.5, "top_k": 4},
    {"seed": 5, "top_p": 0.7, "repetition_penalty": 1.4},
    {"seed": 6, "presence_penalty": 1.0, "frequency_penalty": 0.7, "min_p": 0.01},
    {"seed": 8, "max_tokens": 1},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_the_same_tokens_whoever_drafts(values: dict[str, Any]) -> None:
    values = {"stop_tokens": (), **values}
    plain = TINY.generate(PROMPT, **values)
    whole = plain.steps and plain.tokens
    small = model(replace(TINY.hparams, n_layer=1), lively(replace(TINY.hparams, n_layer=1), 2))
    told = [Told([whole], wrong) for wrong in ((), range(0, 99, 3), range(99))]
    for drafter in (*told, Lookup(1, 3), DraftModel(TINY.model), DraftModel(small)):
        with running(drafter) as engine:
            (events,) = asked(engine, PROMPT, **values)
            same(events, plain)
            (events,) = asked(engine, [*plain.tokens[:-2], 5], **values)  # on what is kept of it
            assert isinstance(events[0], Began)
            same(events, TINY.generate([*plain.tokens[:-2], 5], **values))
            stats = engine.stats()
            steps = len(plain.steps) + len(events) - 2
            assert stats.generated_tokens == steps
            assert stats.accepted_tokens <= stats.drafted_tokens
        if drafter is told[2]:
            assert stats.accepted_tokens == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_good_draft_saves_passes_on_every_backend(backend: str) -> None:
    gpt, _ = lively_gpt(n_ctx=48, backend=backend)
    plain = gpt.generate(PROMPT, greedy=True, stop_tokens=())
    whole = plain.steps and plain.tokens
    with running(Told([whole]), gpt=gpt) as engine:
        (events,) = asked(engine, PROMPT, greedy=True, stop_tokens=())
        same(events, plain, within=1e-5 if backend == "native" else 1e-9)
        stats = engine.stats()
    n = 48 - len(PROMPT)
    reading = -(-len(PROMPT) // (4 * LIMITS.chunk))
    assert stats.steps == reading + -(-(n - 1) // 6)  # a draft of five, and the pass's own token
    assert stats.accepted_tokens == stats.drafted_tokens > 0


def test_strict_gives_the_same_bits() -> None:
    gpt, _ = lively_gpt(n_ctx=48)
    found = []
    for drafter in (Told([]), Lookup(1, 3), DraftModel(gpt.model)):
        with running(drafter, gpt=gpt, strict=True) as engine:
            (events,) = asked(engine, PROMPT, seed=2, stop_tokens=())
        found.append([each for each in events if isinstance(each, Step)])
    assert found[0] == found[1] == found[2]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    wrong=st.sets(st.integers(8, 47)),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 5)), max_size=2),
    stop=st.none() | st.integers(0, 30),
    most=st.integers(1, 20),
    max_tokens=st.integers(1, 50),
)
def test_stops_and_limits_inside_a_draft(seed, wrong, cuts, stop, most, max_tokens) -> None:
    whole = TINY.generate(PROMPT, seed=seed, stop_tokens=())
    texts = [whole.text[at : at + n] for at, n in cuts if whole.text[at : at + n]]
    tokens = () if stop is None else (whole.steps[stop].token,)
    values = {"seed": seed, "stop": texts, "stop_tokens": tokens, "max_tokens": max_tokens}
    with running(Told([whole.tokens], wrong), most) as engine:
        (events,) = asked(engine, PROMPT, **values)
        alone = TINY.generate(PROMPT, **values)
        same(events, alone)
        assert engine.stats().generated_tokens == len(alone.steps)


def test_several_draft_nothing_and_who_is_left_does() -> None:
    values = {"seed": 1, "stop_tokens": (), "max_tokens": 12}
    prompts = [PROMPT, [*PROMPT[:-1], 3]]
    texts = [TINY.generate(prompt, **values) for prompt in prompts]
    drafter = Told([each.steps and each.tokens for each in texts])
    with running(drafter) as engine:
        for events, alone in zip(asked(engine, *prompts, **values), texts, strict=True):
            same(events, alone)
        assert engine.stats().drafted_tokens == 0
        (events,) = asked(engine, PROMPT, **values)
        same(events, texts[0])
        assert engine.stats().drafted_tokens > 0


def test_one_that_joins_another_in_the_middle() -> None:
    """The first has drafts until the second comes, and again once that has ended."""
    plain = TINY.generate(PROMPT, greedy=True, stop_tokens=())
    other = TINY.generate("ab ab", greedy=True, stop_tokens=(), max_tokens=6)
    whole = plain.steps and plain.tokens
    found: dict[str, list[Event]] = {"first": [], "second": []}
    ends = {name: threading.Event() for name in found}
    with running(Told([whole]), most=2) as engine:

        def deliver(name: str, event: Event) -> None:
            found[name].append(event)
            if name == "first" and len(found[name]) == 10:
                ask = Ask(prompt=other.prompt, settings=other.settings)
                engine.submit(ask, lambda event: deliver("second", event))
            if isinstance(event, Ended):
                ends[name].set()

        ask = Ask(prompt=plain.prompt, settings=plain.settings)
        engine.submit(ask, lambda event: deliver("first", event))
        assert all(end.wait(60) for end in ends.values())
        stats = engine.stats()
    same(found["first"], plain)
    same(found["second"], other)
    assert 0 < stats.drafted_tokens < len(plain.steps) - 6


def test_given_up_or_undeliverable_inside_a_draft() -> None:
    """Nothing more comes, its blocks are free, and the next text is whole."""
    plain = TINY.generate(PROMPT, greedy=True, stop_tokens=())
    whole = plain.steps and plain.tokens
    for gone in (False, True):
        with running(Told([whole]), most=20) as engine:
            events: list[Event] = []
            tickets = []

            def deliver(event: Event) -> None:
                events.append(event)  # noqa: B023
                if len(events) == 9:  # noqa: B023
                    if gone:  # noqa: B023
                        raise RuntimeError("gone")
                    engine.cancel(tickets[0])  # noqa: B023

            ask = Ask(prompt=plain.prompt, settings=plain.settings)
            tickets.append(engine.submit(ask, deliver))
            until(lambda: events and isinstance(events[-1], Ended))  # noqa: B023
            until(lambda: not engine.stats().blocks_used)
            assert events[-1] == Ended()
            steps = [each for each in events if isinstance(each, Step)]
            # Given up, it ends once the pass's tokens are out; undeliverable, at once.
            assert len(steps) == 8 if gone else len(steps) <= 8 + 20
            (again,) = asked(engine, PROMPT, greedy=True, stop_tokens=())
            same(again, plain)


def test_a_prompt_that_is_scored_as_without() -> None:
    with running(DraftModel(TINY.model)) as engine:
        (events,) = asked(engine, PROMPT, score=True, greedy=True, max_tokens=9, stop_tokens=())
        (short,) = asked(engine, [5], score=True, greedy=True, max_tokens=9, stop_tokens=())
    with running(Told([])) as engine:
        (plain,) = asked(engine, PROMPT, score=True, greedy=True, max_tokens=9, stop_tokens=())
        assert engine.stats().drafted_tokens == 0
    (ours,) = [each for each in events if isinstance(each, Scored)]
    (theirs,) = [each for each in plain if isinstance(each, Scored)]
    assert ours.logprobs[1:] == pytest.approx(theirs.logprobs[1:], abs=1e-9)
    same(events, TINY.generate(PROMPT, greedy=True, max_tokens=9, stop_tokens=()))
    same(short, TINY.generate([5], greedy=True, max_tokens=9, stop_tokens=()))


# --- over HTTP --------------------------------------------------------------------------------


def test_over_http_nothing_but_the_counts_differs() -> None:
    """Whole and streamed, with usage, several at once, and one that is traced."""
    needs("fastapi")
    from support.server import serving, talker

    gpt = talker()
    body = {"messages": [{"role": "user", "content": "the cat sat the cat"}], "max_tokens": 40}
    asked = [
        body | {"temperature": 0, "logprobs": True, "top_logprobs": 3},
        body | {"seed": 5, "stop": ["q"]},
        body | {"seed": 6, "stream": True, "stream_options": {"include_usage": True}},
        body | {"temperature": 0, "pellucid": {"trace": {"names": "resid_post", "top_k": 2}}},
        body | {"seed": 5, "n": 2},
    ]
    answers, drafted, steps = [], [], []
    for speculation in (None, Speculation(DraftModel(gpt.model), adaptive=False)):
        with serving(gpt, speculation=speculation) as server:
            answers.append([answered(server.post("/v1/chat/completions", **e)) for e in asked])
            lines = dict(
                line.rsplit(" ", 1) for line in server.metrics().splitlines() if line[0] != "#"
            )
            drafted.append(float(lines["pellucid_drafted_tokens_total"]))
            assert drafted[-1] >= float(lines["pellucid_accepted_tokens_total"])
            steps.append(float(lines["pellucid_steps_total"]))
    for (plain, numbers), (ours, our_numbers) in zip(*answers, strict=True):
        assert ours == plain
        assert our_numbers == pytest.approx(numbers, rel=1e-3, abs=1e-4)
    assert drafted[0] == 0 < drafted[1]
    assert steps[0] > steps[1]


def answered(answer: httpx.Response) -> tuple[Any, list[float]]:
    """What is said, without what is new in each answer; and its logarithms and norms."""
    assert answer.status_code == 200, answer.text
    text = answer.text
    if "event-stream" in answer.headers["content-type"]:
        parts = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    else:
        parts = [text]
    numbers: list[float] = []
    return [_plain(json.loads(part), numbers) for part in parts], numbers


def _plain(value: Any, numbers: list[float]) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v, numbers) for k, v in value.items() if k not in ("id", "created")}
    if isinstance(value, list):
        return [_plain(each, numbers) for each in value]
    if isinstance(value, float):
        numbers.append(value)
        return "a number"
    return value


def test_the_program() -> None:
    needs("fastapi", "POSIX")
    from support.server import asked_by_curl, started

    said, drafted = [], []
    for more in ((), ("--speculate", "lookup"), ("--speculate", "chat")):
        with started("--no-store", *more) as program:
            curl = program.curl.replace('"messages"', '"temperature": 0, "messages"')
            answer = asked_by_curl(curl)
            assert answer.status_code == 200, answer.text
            said.append(answer.json()["choices"][0]["message"]["content"])
            metrics = httpx.get(f"{program.url}/metrics", timeout=60).text
            drafted.append("pellucid_drafted_tokens_total 0.0" not in metrics)
            assert program.end() == 0
    assert said[0] == said[1] == said[2]
    assert (drafted[0], drafted[2]) == (False, True)
