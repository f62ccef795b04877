"""What is asked of a token's logits, held to the plain definitions to the last bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import InputError
from pellucid.row import Row
from pellucid.sampling import Sampling, draw, log_softmax, without

# Around the sizes at which a sum is halved, and where many numbers are looked at in parts.
SIZES = [1, 2, 7, 8, 9, 63, 64, 65, 997, 4097, 25_999, 26_001, 50_257, 52_017, 128_256]


@st.composite
def rows(draw, odd: tuple[float, ...] = (-np.inf, np.inf, np.nan)):
    """Random logits, some rounded so that they tie, some with numbers that are none."""
    size = draw(st.sampled_from(SIZES) | st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(-30, draw(st.sampled_from([0.01, 3, 40])), size)
    if draw(st.booleans()):
        x = np.round(x)
    for value in draw(st.lists(st.sampled_from(odd), max_size=2)) if odd else ():
        x[rng.random(size) < draw(st.sampled_from([0.01, 0.5, 1]))] = value
    return x.astype(draw(st.sampled_from([np.float32, np.float64])))


@given(rows(), st.integers(0, 50), st.booleans())
def test_the_likeliest_are_those_of_a_sort(x, n, asked_before):
    """Ties by id, what is not a number last; and the first as argmax has it."""
    order = np.lexsort((np.arange(x.size), -x))
    row = Row(x)
    if asked_before:
        assert row.first == x.argmax()
    assert row.likeliest(n) == order[:n].tolist()
    assert row.first == x.argmax()
    np.testing.assert_equal(row.highest, float(x.max()))


@given(rows(), st.lists(st.integers(0, 2**31), min_size=1, max_size=7), st.booleans())
def test_log_probabilities_are_those_of_log_softmax_to_the_last_bit(x, ids, drawn_before):
    tokens = [token % x.size for token in ids]
    row = Row(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        if drawn_before:
            weights = np.exp(x.astype(np.float64) - x.max())
            np.testing.assert_array_equal(row.weights, weights)
        expected = log_softmax(x.astype(np.float64))[tokens]
        np.testing.assert_array_equal(row.log_probabilities(tokens), expected)


@given(rows(odd=(-np.inf,)), st.integers(0, 2**31), st.floats(0.1, 1), st.integers(1, 60))
def test_a_choice_is_that_of_the_stages(x, seed, top_p, top_k):
    """Whatever it shares with what else is asked of the row."""
    unused = frozenset({0, x.size // 2})
    left = without(x, unused)
    for sampling in (
        Sampling(),
        Sampling(temperature=0),
        Sampling(greedy=True),
        Sampling(top_p=top_p),
        Sampling(top_k=top_k),
        Sampling(min_p=0.1),
        Sampling(temperature=0.5),
    ):
        for ids, logits in (((), x), (unused, left)):
            if not np.isfinite(logits.max()) and not sampling.greedy:
                with pytest.raises(InputError, match="no token is"), np.errstate(invalid="ignore"):
                    sampling.choose(Row(x), (), (), seed, 3, ids)
                continue
            row = Row(x)
            row.likeliest(5)
            chosen = sampling.choose(row, (), (), seed, 3, ids)
            if sampling.greedy or sampling.temperature == 0:
                assert chosen == logits.argmax()
                continue
            stages = sampling.stages(x, unused=ids)
            assert chosen == draw(stages[-1].logits, seed, 3)


def test_threads_do_not_share_their_memory():
    rng = np.random.default_rng(0)
    many = [rng.normal(0, 3, 50_257).astype(np.float32) for _ in range(16)]
    alone = [Row(x).log_probabilities([0, 5]) for x in many]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            assert list(pool.map(lambda x: Row(x).log_probabilities([0, 5]), many)) == alone


def test_logits_are_left_as_they_are():
    x = np.random.default_rng(0).normal(0, 3, 997).astype(np.float32)
    x.flags.writeable = False
    row = Row(x)
    assert len(row.likeliest(9)) == len(row.log_probabilities(row.likeliest(9))) == 9
    assert row.weights.max() == 1
