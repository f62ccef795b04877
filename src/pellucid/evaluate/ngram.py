"""A baseline without a network: an interpolated Kneser-Ney n-gram model over token ids.

Source: Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling"
(1998): one discount per order, n1 / (n1 + 2·n2). The highest order counts occurrences, lower
ones how many different tokens stand before (continuation counts); order 1 rests on the uniform
distribution, so that no token is impossible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["KneserNey", "train"]

_BITS = 64  # of a packed n-gram


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """keys: the n-grams packed, sorted; counts. contexts: what stands before their last token,
    sorted; totals: the sum of counts after each; kinds: how many different tokens follow."""

    keys: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


@dataclass(frozen=True, slots=True, eq=False)
class KneserNey:
    """What `train` returns. orders: from 1 up."""

    n_vocab: int
    orders: tuple[_Order, ...]

    @property
    def order(self) -> int:
        return len(self.orders)

    def logprobs(self, ids: Any) -> np.ndarray:
        """ids [position] -> [position - 1]: the natural logarithm of each id's probability
        after those before it; the first is given."""
        ids = _checked(ids, self.n_vocab)
        at = np.arange(1, len(ids))
        probability = np.full(len(at), 1 / self.n_vocab)
        bits = _width(self.n_vocab)
        for n, level in enumerate(self.orders, 1):
            here = at >= n - 1  # so many tokens stand before
            ends = at[here]
            context = np.zeros(len(ends), np.uint64)
            for back in range(n - 1, 0, -1):
                context = (context << np.uint64(bits)) | ids[ends - back]
            key = (context << np.uint64(bits)) | ids[ends]
            probability[here] = _interpolate(level, context, key, probability[here])
        return np.asarray(np.log(probability))

    def distribution(self, context: Any) -> np.ndarray:
        """context [position] -> probabilities [n_vocab] of the next id."""
        before = np.asarray(context, np.uint64).ravel()[-(self.order - 1) or len(context) :]
        before = _checked(before, self.n_vocab)
        every = np.arange(self.n_vocab, dtype=np.uint64)
        probability = np.full(self.n_vocab, 1 / self.n_vocab)
        bits = np.uint64(_width(self.n_vocab))
        for n, level in enumerate(self.orders, 1):
            if n - 1 > len(before):
                break
            packed = np.uint64(0)
            for token in before[len(before) - (n - 1) :]:
                packed = (packed << bits) | token
            context_of = np.full(self.n_vocab, packed)
            probability = _interpolate(level, context_of, (packed << bits) | every, probability)
        return probability


def train(ids: Any, order: int, n_vocab: int) -> KneserNey:
    """Count the n-grams of a token sequence; documents are separated by a token of its own.

    order: the longest n-gram; order · bits of an id must be at most 64 (5 up to 4096 tokens, 4
    up to 65,536). Memory: some 50 bytes per training token. Raises InputError.
    """
    if order < 1 or order * _width(n_vocab) > _BITS:
        raise InputError(
            f"order {order} over {n_vocab} tokens does not fit 64 bits: at most "
            f"{_BITS // _width(n_vocab)} here"
        )
    ids = _checked(ids, n_vocab)
    if len(ids) < order:
        raise InputError(f"{len(ids)} tokens hold no n-gram of order {order}")
    bits = np.uint64(_width(n_vocab))
    keys, counts = _packed(ids, order, bits)
    levels = [_level(keys, counts, bits)]
    for n in range(order - 1, 0, -1):
        # An n-gram's count below the top: the different (n + 1)-grams that end in it, ...
        mask = np.uint64((1 << (n * int(bits))) - 1)
        shorter, counts = np.unique(keys & mask, return_counts=True)
        # ... or its occurrences where it opens the text: nothing stands before it there.
        opening = _packed(ids[:n], n, bits)[0]
        missing = np.setdiff1d(opening, shorter)
        if missing.size:
            slots = np.searchsorted(shorter, missing)
            shorter = np.insert(shorter, slots, missing)
            counts = np.insert(counts, slots, 1)
        keys = shorter
        levels.append(_level(keys, counts, bits))
    return KneserNey(n_vocab, tuple(reversed(levels)))


def _packed(ids: np.ndarray, n: int, bits: np.uint64) -> tuple[np.ndarray, np.ndarray]:
    """Every n-gram in one number, sorted, with its count."""
    packed = np.zeros(len(ids) - n + 1, np.uint64)
    for back in range(n):
        packed <<= bits
        packed |= ids[back : len(ids) - n + 1 + back]
    return np.unique(packed, return_counts=True)


def _level(keys: np.ndarray, counts: np.ndarray, bits: np.uint64) -> _Order:
    prefix = keys >> bits
    contexts, first, kinds = np.unique(prefix, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts, first)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5
    return _Order(keys, counts.astype(np.uint32), contexts, totals, kinds.astype(np.uint32),
                  discount)  # fmt: skip


def _interpolate(
    level: _Order, context: np.ndarray, key: np.ndarray, lower: np.ndarray
) -> np.ndarray:
    """max(count - D, 0) / total + D · kinds / total · lower; lower alone after a new context."""
    total, kinds = _find(level.contexts, context, level.totals, level.kinds)
    (count,) = _find(level.keys, key, level.counts)
    known = total > 0
    total = np.where(known, total, 1.0)
    mixed = (np.maximum(count - level.discount, 0) + level.discount * kinds * lower) / total
    return np.where(known, mixed, lower)


def _find(keys: np.ndarray, wanted: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    known = keys[at] == wanted
    return [np.where(known, value[at], 0).astype(np.float64) for value in values]


def _width(n_vocab: int) -> int:
    return max(1, (n_vocab - 1).bit_length())


def _checked(ids: Any, n_vocab: int) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise InputError("ids must be whole numbers, [position]")
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= n_vocab):
        raise InputError(f"ids must lie in 0…{n_vocab - 1}")
    return np.asarray(ids, np.uint64)
