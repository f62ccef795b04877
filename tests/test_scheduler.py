"""The scheduler and the blocks, without a model: what a block holds is the tokens themselves."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Hashable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.blocks.pool import BlockPool
from pellucid.serve.scheduler import Full, Request, Scheduler, Turn


class MockModel:
    """Computes a turn by writing each token, with its salt, into its slot. What follows a text is
    a function of the whole text, as it stands in the blocks."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.slots: dict[int, tuple[Hashable, int]] = {}
        self.n_computed = 0

    def run(self, turns: list[Turn], length: int) -> None:
        size = self.scheduler.pool.block_size
        assert len({id(turn.request) for turn in turns}) == len(turns)
        for request, n in turns:
            where = [block * size + i for block in request.blocks for i in range(size)]
            for at in range(request.computed, request.computed + n):
                self.slots[where[at]] = (request.salt, request.tokens[at])
            self.n_computed += n
        for request, n in turns:
            where = [block * size + i for block in request.blocks for i in range(size)]
            held = [self.slots.get(slot) for slot in where[: request.computed + n]]
            assert held == [(request.salt, token) for token in request.tokens[: len(held)]]
            self.scheduler.computed(request, n)
            if not request.missing:
                self.scheduler.append(request, follows([token for _, token in held]))
                if len(request.tokens) == length:
                    self.scheduler.remove(request)


def follows(tokens: list[int]) -> int:
    return random.Random(str(tokens)).randrange(5)


def alone(prompt: list[int], length: int) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < length:
        tokens.append(follows(tokens))
    return tokens


def scheduler(n_blocks: int = 32, block_size: int = 4, **limits: int) -> Scheduler:
    limits = {"max_running": 4, "max_waiting": 100, "chunk": 6} | limits
    return Scheduler(BlockPool(n_blocks, block_size), **limits)


# Prompts that often begin alike: few tokens, some of them whole copies of a beginning.
PROMPTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=12),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([None, None, "own"]),
        st.booleans(),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=12,
)


@given(PROMPTS, st.integers(5, 24), st.integers(1, 5), st.data())
@settings(max_examples=100, deadline=None)
def test_every_text_is_as_if_alone(prompts, n_blocks, max_running, data) -> None:
    """Any arrivals, any departures, blocks for one text or for many: each text that goes on to
    its end is the text that it would be alone, and in the end no block is in use."""
    s = scheduler(n_blocks, 4, max_running=max_running)
    model = MockModel(s)
    waiting = [
        (arrival, Request(tokens=list(prompt), client=client, salt=salt, whole=whole))
        for prompt, client, salt, whole, arrival in prompts
    ]
    requests = [(list(request.tokens), request) for _, request in waiting]
    cancelled = set()
    for step in range(2000):
        for arrival, request in waiting:
            if arrival == step:
                s.add(request)
        if s.idle and step > 6:
            break
        if step < 30 and data.draw(st.integers(0, 9)) == 0:
            for request in list(s.requests())[:1]:
                cancelled.add(request)
                s.remove(request)
        model.run(s.plan(), 18)
    else:
        raise AssertionError("it never came to an end")
    for prompt, request in requests:
        if request not in cancelled:
            assert request.tokens == alone(prompt, 18)
    assert s.pool.n_used == 0
    assert s.pool.n_free + s.pool.n_remembered == s.pool.n_blocks
    s.pool.forget()
    assert s.pool.n_free == s.pool.n_blocks


def test_what_texts_begin_with_alike_is_computed_once() -> None:
    """Also where they arrive together: the second waits until the first has been read so far."""
    s = scheduler(64)
    model = MockModel(s)
    system = [random.Random(1).randrange(9) for _ in range(40)]
    for i in range(4):
        s.add(Request(tokens=[*system, 10 + i], client=str(i)))
    while not s.idle:
        model.run(s.plan(), 44)
    alone_each = 43
    assert model.n_computed == 40 + 4 * (alone_each - 40)


def test_a_turn_of_a_chat_computes_only_what_is_new() -> None:
    s = scheduler(64)
    model = MockModel(s)
    first = Request(tokens=list(range(30)))
    s.add(first)
    while not s.idle:
        model.run(s.plan(), 38)
    before = model.n_computed
    s.add(Request(tokens=[*first.tokens, 7, 8, 9]))
    model.run(s.plan(), 99)
    assert s.running[0].cached == 36  # whole blocks of four; the last token was never fed back
    assert model.n_computed - before == 41 - 36


def test_another_salt_shares_nothing() -> None:
    s = scheduler(64)
    model = MockModel(s)
    for salt in (None, "edited", None):
        s.add(Request(tokens=list(range(20)), salt=salt))
        while not s.idle:
            model.run(s.plan(), 21)
    assert model.n_computed == 20 + 20 + 4


def test_a_long_prompt_goes_in_pieces_beside_the_streams() -> None:
    s = scheduler(200, chunk=6)
    model = MockModel(s)
    for client in "ab":
        s.add(Request(tokens=[1, 2, int(client, 16)], client=client))
    model.run(s.plan(), 100)
    s.add(Request(tokens=[9] * 60, client="c"))
    sizes = []
    for _ in range(10):
        turns = s.plan()
        sizes.append([turn.n for turn in turns])
        model.run(turns, 100)
    assert sizes == [[1, 1, 6]] * 10
    assert s.plan()[2].n == 1  # now it is a stream too


def test_where_nobody_waits_for_a_token_pieces_are_larger() -> None:
    s = scheduler(200, chunk=6)
    s.add(Request(tokens=[9] * 60))
    assert [turn.n for turn in s.plan()] == [24]


def test_clients_take_turns() -> None:
    """One with a hundred requests does not keep another waiting behind them."""
    s = scheduler(200, max_running=2)
    for i in range(50):
        s.add(Request(tokens=[1, i], client="many"))
    s.add(Request(tokens=[2, 1], client="one"))
    turns = s.plan()
    assert [turn.request.client for turn in turns] == ["many", "one"]


def test_too_many_are_refused() -> None:
    s = scheduler(max_waiting=2)
    for i in range(2):
        s.add(Request(tokens=[i]))
    with pytest.raises(Full, match="2 requests are waiting"):
        s.add(Request(tokens=[3]))


def test_the_last_to_join_makes_room_and_comes_back() -> None:
    s = scheduler(6, max_running=3)
    model = MockModel(s)
    requests = [Request(tokens=[i] * 7, client=str(i)) for i in range(3)]
    for request in requests:
        s.add(request)
    most = 0
    while not s.idle:
        model.run(s.plan(), 18)
        most = max(most, len(s.running))
    assert most >= 2  # they began together, and six blocks hold one and a half of them
    assert [request.tokens for request in requests] == [alone([i] * 7, 18) for i in range(3)]


def test_blocks_lie_side_by_side() -> None:
    """Texts that grow in turns keep their blocks in few stretches."""
    pool = BlockPool(256, 16)
    texts: list[list[int]] = [[] for _ in range(8)]
    for _ in range(24):
        for text in texts:
            block = pool.take(text[-1] if text else None)
            assert block is not None
            text.append(block)
    stretches = [1 + sum(b != a + 1 for a, b in pairwise(t)) for t in texts]
    assert sum(stretches) <= 16
    assert len({block for text in texts for block in text}) == 8 * 24


def test_the_longest_unused_is_forgotten_first() -> None:
    pool = BlockPool(4, 2)
    held = []
    for text in ([1, 2, 3], [4, 5, 6], [7, 8, 9]):
        block = pool.take()
        assert block is not None
        pool.remember([block], text)
        held.append(block)
    for block in (held[1], held[0], held[2]):
        pool.release([block])
    first = pool.take()
    second = pool.take()  # the fourth block, and then the one that was unused longest
    assert {first, second} >= {held[1]} or held[1] in (first, second)
    assert pool.match([4, 5, 6]) == []
    assert pool.match([1, 2, 3]) == [held[0]]


def test_the_scheduler_needs_no_arrays() -> None:
    code = "import sys, pellucid.serve.scheduler; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_those_that_wait_are_told_in_the_order_in_which_they_join() -> None:
    one = scheduler(max_running=1)
    asked = [
        Request(tokens=[i, i, i], client=client)
        for i, client in enumerate(["a", "a", "a", "b", "b", "c"])
    ]
    for request in asked:
        one.add(request)
    order = list(one.waiting())
    assert {id(request) for request in order} == {id(request) for request in asked}
    joined = []
    while not one.idle:
        one.plan()
        (running,) = one.running
        joined.append(running)
        one.remove(running)
    assert joined == order
    assert list(one.waiting()) == []
