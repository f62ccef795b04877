"""Many requests through one model: each is as if it were alone, and none takes another down."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pellucid.backend import get_backend
from pellucid.errors import ContextError, InputError
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.sampling import log_softmax
from pellucid.sequence import Settings, Step
from pellucid.serve.engine import Engine, Ticket
from pellucid.serve.events import (
    Ask,
    Began,
    Busy,
    Ended,
    EngineLimits,
    Event,
    Scored,
    Stopped,
)
from support.models import lively_gpt, model, parameters
from support.skips import needs
from support.work import until

GPT_TINY, _ = lively_gpt(n_ctx=48)
PROMPTS = ["a", "the", "to be or", "ab ab ab", "hello there, hello", "0123456789 0123456789 01"]


class Client:
    """Asks, and keeps the events of each request."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[list[Event]] = []
        self.tickets: list[Ticket] = []
        self.ended: list[threading.Event] = []

    def ask(self, prompt: str | list[int], client: str = "", score: bool = False, **kw) -> int:
        events: list[Event] = []
        ended = threading.Event()

        def deliver(event: Event) -> None:
            events.append(event)
            if isinstance(event, Ended):
                ended.set()

        ask = Ask(
            prompt=tuple(self.engine.gpt.encode(prompt)),
            settings=Settings.of(**kw),
            client=client,
            score_prompt=score,
        )
        self.tickets.append(self.engine.submit(ask, deliver))
        self.events.append(events)
        self.ended.append(ended)
        return len(self.events) - 1

    def wait(self, seconds: float = 30) -> None:
        assert all(each.wait(seconds) for each in self.ended)
        for events in self.events:
            assert [isinstance(each, Ended) for each in events].count(True) == 1
            assert isinstance(events[-1], Ended)

    def steps(self, index: int) -> list[Step]:
        return [each for each in self.events[index] if isinstance(each, Step)]

    def tokens(self, index: int) -> list[int]:
        return [each.token for each in self.steps(index)]


@pytest.fixture
def client() -> Iterator[Client]:
    yield from running(EngineLimits(max_running=5, chunk=4, block_size=4))


def running(limits: EngineLimits, gpt: GPT = GPT_TINY) -> Iterator[Client]:
    engine = Engine(gpt, limits)
    engine.start()
    yield Client(engine)
    assert engine.stop(10)
    assert engine.failure is None
    assert engine.pool.n_used == 0


def test_each_is_as_if_alone(client: Client) -> None:
    """Greedy and drawn, with stops and limits; in whatever company, however they arrive."""
    asked = []
    for i in range(40):
        prompt = PROMPTS[i % len(PROMPTS)]
        kw = {
            "greedy": i % 3 == 0,
            "seed": i % 7,
            "max_tokens": 3 + i % 20,
            "temperature": 1.0 + i % 2,
            "stop": ("q",) if i % 4 == 0 else (),
            "alternatives": i % 3,
        }
        asked.append((client.ask(prompt, client=str(i % 3), **kw), prompt, kw))
        if i % 9 == 0:
            time.sleep(0.005)
    client.wait()
    for index, prompt, kw in asked:
        alone = GPT_TINY.generate(prompt, **kw)
        assert client.tokens(index) == [step.token for step in alone.steps]
        assert "".join(step.text for step in client.steps(index)) == alone.text
        ended = client.events[index][-1]
        assert isinstance(ended, Ended)
        assert (ended.reason, ended.error) == (alone.reason, None)
        for ours, theirs in zip(client.steps(index), alone.steps, strict=True):
            assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-9)
            assert [a.token for a in ours.alternatives] == [a.token for a in theirs.alternatives]


def test_keys_in_bytes_are_served() -> None:
    """As they are generated from, blocks of texts that begin alike too; strict has none."""
    needs("pellucid_native")
    tiny, tensors = lively_gpt(n_ctx=48)
    machine = get_backend("native", keys="int8", threads=1)
    gpt = GPT(Model.of(tiny.hparams, tensors, machine), tiny.tokenizer)
    for client in running(EngineLimits(max_running=2, chunk=8, block_size=4), gpt):
        twice = [prompt for prompt in PROMPTS for _ in range(2)]
        asked = [client.ask(prompt, greedy=True) for prompt in twice]
        client.wait()
        for index, prompt in zip(asked, twice, strict=True):
            alone = gpt.generate(prompt, greedy=True)
            assert client.tokens(index) == [step.token for step in alone.steps]
        assert client.engine.stats().cached_tokens
    with pytest.raises(InputError, match="strict is of the numpy backend"):
        Engine(gpt, strict=True)


def test_blocks_for_one_text_only_serve_many() -> None:
    each = 2 * 2 * 16 * 4 * 8  # layers, keys and values, n_embd, tokens of a block, bytes
    limits = EngineLimits(max_running=4, chunk=8, block_size=4, cache_bytes=13 * each)
    for client in running(limits):
        asked = [client.ask(prompt, greedy=True, client=prompt) for prompt in PROMPTS]
        client.wait()
        for index, prompt in zip(asked, PROMPTS, strict=True):
            alone = GPT_TINY.generate(prompt, greedy=True)
            assert client.tokens(index) == [step.token for step in alone.steps]


def test_a_cache_too_small_for_one_window_is_refused() -> None:
    with pytest.raises(InputError, match="one window of 48 tokens"):
        Engine(GPT_TINY, EngineLimits(cache_bytes=1000))


def test_the_next_turn_takes_over_what_is_computed(client: Client) -> None:
    first = client.ask("to be or not to be", greedy=True, max_tokens=8)
    client.wait()
    began = client.events[first][0]
    assert isinstance(began, Began)
    assert began.cached_tokens == 0
    ids = [*began.sequence.tokens, *GPT_TINY.encode(" that")]
    second = client.ask(ids, greedy=True, max_tokens=5)
    client.wait()
    began = client.events[second][0]
    assert isinstance(began, Began)
    assert began.cached_tokens >= len(ids) // 4 * 4 - 8
    alone = GPT_TINY.generate(ids, greedy=True, max_tokens=5)
    assert client.tokens(second) == [step.token for step in alone.steps]


def test_the_prompts_own_probabilities(client: Client) -> None:
    """In pieces, from a cache that knows the prompt, beside others: the plain pass's numbers."""
    prompt = GPT_TINY.encode(PROMPTS[-1])
    client.ask(prompt, greedy=True, max_tokens=2)
    client.wait()
    index = client.ask(prompt, score=True, max_tokens=3, greedy=True, alternatives=2)
    nothing_more = client.ask(prompt, score=True, max_tokens=0, alternatives=1)
    client.wait()
    expected = log_softmax(np.asarray(GPT_TINY.logits(prompt), np.float64))
    for which in (index, nothing_more):
        scored = [each for each in client.events[which] if isinstance(each, Scored)]
        assert len(scored) == 1
        logprobs = scored[0].logprobs
        assert logprobs[0] is None
        assert logprobs[1:] == pytest.approx(
            [expected[i, token] for i, token in enumerate(prompt[1:])], abs=1e-9
        )
        for i, listed in enumerate(scored[0].alternatives[1:]):
            assert listed[0].token == int(np.argmax(expected[i]))
    assert isinstance(client.events[index][1], Scored)  # before the first new token
    assert len(client.steps(index)) == 3
    assert not client.steps(nothing_more)
    assert client.events[nothing_more][-1] == Ended(reason="length")


def test_giving_up_frees_at_once(client: Client) -> None:
    """While it waits, while its prompt is read, while it generates, and when it has ended."""
    for delay in (0, 0.001, 0.003, 0.01, 0.05):
        indices = [client.ask(PROMPTS[i % 6], seed=i, client="x") for i in range(20)]
        threading.Event().wait(delay)
        for index in indices:
            client.engine.cancel(client.tickets[index])
        stats = client.engine.stats
        until(lambda: not stats().blocks_used and not stats().waiting)  # noqa: B023
    client.wait()
    index = client.ask("a", greedy=True, max_tokens=4)
    client.wait()
    alone = GPT_TINY.generate("a", greedy=True, max_tokens=4)
    assert client.tokens(index) == [step.token for step in alone.steps]


def test_a_seed_gives_the_same_in_any_company(client: Client) -> None:
    seeded = []
    for i in range(20):
        seeded.append(client.ask("to be or", seed=42, max_tokens=12))
        client.ask("the", max_tokens=i % 5)
        client.ask("to be or", seed=i, max_tokens=12)
    client.wait()
    assert len({tuple(client.tokens(index)) for index in seeded}) == 1
    others = {tuple(client.tokens(index + 2)) for index in seeded}
    assert len(others) > 10


def test_one_that_cannot_be_delivered_to_takes_no_other_down(client: Client) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("gone")

    ask = Ask(prompt=(1, 2, 3), settings=Settings())
    client.engine.submit(ask, broken)
    index = client.ask("the", greedy=True, max_tokens=5)
    client.wait()
    assert len(client.steps(index)) == 5
    assert client.engine.alive


def test_what_the_model_cannot_meet_is_said_at_once(client: Client) -> None:
    with pytest.raises(ContextError, match="holds 48"):
        client.ask([1] * 49)
    with pytest.raises(InputError, match="n_ctx"):
        client.ask([1], n_ctx=99)
    index = client.ask([1] * 48)
    client.wait()
    assert client.events[index][-1] == Ended(reason="context window full")


def test_a_full_queue_says_so() -> None:
    go = threading.Event()
    for client in running(EngineLimits(max_running=2, max_waiting=3, block_size=4)):
        held = Ask(prompt=(1, 2, 3), settings=Settings.of(max_tokens=1))
        client.engine.submit(held, lambda event: go.wait(90) or None)
        until(lambda: client.engine.stats().running == 1)  # noqa: B023
        for _ in range(4):  # one more may run, three wait
            client.ask("the", max_tokens=2)
        with pytest.raises(Busy) as caught:
            client.ask("the")
        assert caught.value.waiting == 4
        assert caught.value.retry_after >= 1
        go.set()
        client.wait()
        client.ask("the", max_tokens=1)
        client.wait()


def test_draining_ends_what_is_under_way() -> None:
    engine = Engine(GPT_TINY, EngineLimits(max_running=2, block_size=4))
    engine.start()
    client = Client(engine)
    for i in range(6):
        client.ask(PROMPTS[i], greedy=True, max_tokens=10)
    engine.drain()
    with pytest.raises(Stopped):
        client.ask("one more")
    client.wait()
    assert all(len(client.steps(i)) in range(1, 11) for i in range(6))
    assert engine.stop(5)
    assert not engine.alive


def test_stopping_ends_every_request() -> None:
    engine = Engine(GPT_TINY, EngineLimits(max_running=2, block_size=4))
    engine.start()
    client = Client(engine)
    for i in range(10):
        client.ask("the", seed=i)
    assert engine.stop(5)
    client.wait()
    with pytest.raises(Stopped):
        client.ask("the")


def test_a_model_that_fails_is_an_error_for_everyone_and_no_hang(monkeypatch) -> None:
    gpt, _ = lively_gpt(n_ctx=48)
    engine = Engine(gpt, EngineLimits(max_running=2, block_size=4))
    calls = []

    def failing(*args: object, **kw: object) -> None:
        calls.append(args)
        raise MemoryError("no room")

    monkeypatch.setattr(type(gpt.model), "forward", failing)
    engine.start()
    client = Client(engine)
    client.ask("the")
    client.wait()
    ended = client.events[0][-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, Stopped)
    engine.stop(5)
    assert not engine.alive
    assert isinstance(engine.failure, MemoryError)
    with pytest.raises(Stopped):
        client.ask("the")


def test_nothing_is_left_over_after_much(client: Client) -> None:
    """Counters agree, and every block is free or remembered."""
    for i in range(60):
        index = client.ask(PROMPTS[i % 6], client=str(i % 4), seed=i, max_tokens=i % 9)
        if i % 5 == 0:
            client.engine.cancel(client.tickets[index])
    client.wait()
    stats = client.engine.stats()
    assert (stats.running, stats.waiting, stats.blocks_used) == (0, 0, 0)
    assert stats.generated_tokens == sum(len(client.steps(i)) for i in range(60))
    assert set(stats.seconds) == {"plan", "model", "choose", "deliver"}


def test_strict_gives_the_same_bits_in_any_company() -> None:
    """Alone, among others that come and go, read in pieces or from the cache: one list of
    log-probabilities, to the last bit, and rounding apart those of an engine that is not strict."""
    hparams = HParams(n_vocab=GPT_TINY.hparams.n_vocab, n_ctx=64, n_embd=96, n_head=3, n_layer=2)
    gpt = GPT(
        model(hparams, parameters(hparams), dtype="float32"), GPT_TINY.tokenizer, name="wider"
    )
    rng = np.random.default_rng(0)
    ids = [int(i) for i in rng.integers(0, 200, 30)]
    found = []
    for strict in (True, False):
        engine = Engine(gpt, EngineLimits(max_running=20, chunk=8, block_size=4), strict=strict)
        engine.start()
        client = Client(engine)
        mine = []
        for company in (0, 1, 3, 19, 0, 12):
            if company in (3, 19):
                client.wait()
                engine.pool.forget()
            for i in range(company):
                begin = ids[: 2 + i] if i % 2 else [i, 2, 3]
                client.ask(begin, max_tokens=3 + i, seed=i)
            mine.append(client.ask(ids, greedy=True, max_tokens=20, alternatives=0))
            client.wait()
        found.append([[step.logprob for step in client.steps(index)] for index in mine])
        assert engine.stop(10)
    assert len(set(map(tuple, found[0]))) == 1
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_strict_is_refused_where_it_is_not_to_be_had() -> None:
    class Other:
        name = "other"

    gpt = GPT(replace(GPT_TINY.model, backend=Other()), GPT_TINY.tokenizer, name="other")
    with pytest.raises(InputError, match="runs on other"):
        Engine(gpt, strict=True)
