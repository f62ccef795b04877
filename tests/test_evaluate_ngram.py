"""Kneser-Ney: a distribution, and equal to counting in dictionaries."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import InputError
from pellucid.evaluate.ngram import train

V = 6
corpora = st.lists(st.integers(0, V - 1), min_size=5, max_size=60)


def plain(ids, order, context, token):
    """The formula, by dictionaries: the probability of token after context."""
    counts = Counter(tuple(ids[i : i + order]) for i in range(len(ids) - order + 1))
    tables = [counts]
    for n in range(order - 1, 0, -1):
        counts = Counter(gram[1:] for gram in counts)
        if tuple(ids[:n]) not in counts:
            counts[tuple(ids[:n])] = 1
        tables.append(counts)
    probability = 1 / V
    for n, table in enumerate(reversed(tables), 1):
        if n - 1 > len(context):
            break
        once, twice = (sum(c == k for c in table.values()) for k in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        before = tuple(context[len(context) - n + 1 :])
        after = {gram: c for gram, c in table.items() if gram[:-1] == before}
        if total := sum(after.values()):
            own = max(after.get((*before, token), 0) - discount, 0)
            probability = (own + discount * len(after) * probability) / total
    return probability


@settings(max_examples=60)
@given(corpora, st.integers(1, 5), st.lists(st.integers(0, V - 1), max_size=7))
def test_sums_to_one(ids, order, context):
    probabilities = train(ids, order, V).distribution(context)
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert (probabilities > 0).all()


@settings(max_examples=40)
@given(corpora, st.integers(1, 5), st.lists(st.integers(0, V - 1), min_size=2, max_size=9))
def test_equals_counting_in_dictionaries(ids, order, text):
    model = train(ids, order, V)
    expected = [plain(ids, order, text[:at], text[at]) for at in range(1, len(text))]
    np.testing.assert_allclose(np.exp(model.logprobs(text)), expected, rtol=1e-12)
    np.testing.assert_allclose(
        model.distribution(text), [plain(ids, order, text, t) for t in range(V)], rtol=1e-12
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="at most 5"):
        train([1, 2, 3] * 4, 6, 4096)
    with pytest.raises(InputError, match="0…5"):
        train([1, 6, 2], 2, 6)
    with pytest.raises(InputError, match="no n-gram"):
        train([1], 2, 6)
