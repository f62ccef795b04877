"""The logits of one token to come: which are highest, and the log-probabilities of a few.

Between two tokens the weights sweep the caches, and what then runs first costs more than what it
computes: a function of numpy ten microseconds, new memory thirty. Hence few of either.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

__all__ = ["Row", "reached"]

_FEW = 16  # so many are found one by one, more by sorting
_PART = 64  # numbers of which the highest is looked for
_AT_ONCE = 26_000  # exponentials made and added at a time: half of GPT-2's

_scratch = threading.local()  # their memory


class Row:
    """logits [n_vocab]; what was found for one question serves the next."""

    __slots__ = ("_first", "_weights", "logits")

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits
        self._first: int | None = None
        self._weights: np.ndarray | None = None

    @property
    def first(self) -> int:
        """The id of the highest, as np.argmax has it: ties by id, not a number before all."""
        if self._first is None:
            self._first = int(self.logits.argmax())
        return self._first

    @property
    def highest(self) -> float:
        """The highest itself, as np.max has it."""
        return float(self.logits.item(self.first))

    @property
    def finite(self) -> bool:
        return math.isfinite(self.highest) and math.isfinite(np.minimum.reduce(self.logits))

    @property
    def weights(self) -> np.ndarray:
        """[n_vocab] in float64: probabilities up to a factor, the highest of them 1."""
        if self._weights is None:
            weights = self.logits.astype(np.float64)
            weights -= self.highest
            self._weights = np.exp(weights, weights)
        return self._weights

    def likeliest(self, n: int) -> list[int]:
        """Ids of the n highest, the highest first; ties by id, and what is not a number last."""
        x = self.logits
        n = min(n, x.size)
        if not n:
            return []
        if n > _FEW or math.isnan(self.highest):
            ids = reached(x, n)
            found: list[int] = ids[(-x[ids]).argsort(kind="stable")[:n]].tolist()
            return found
        # The highest parts the rest in two, of which the highest are known after one more look.
        found = [self.first]
        parts: list[tuple[float, int, int, int]] = []  # -highest, its id, where it begins and ends
        begin, end = 0, x.size
        while len(found) < n:
            for low, high in ((begin, found[-1]), (found[-1] + 1, end)):
                if low < high:
                    at = low + int(x[low:high].argmax())
                    heappush(parts, (-x.item(at), at, low, high))
            _, at, begin, end = heappop(parts)
            found.append(at)
        return found

    def log_probabilities(self, tokens: Sequence[int]) -> list[float]:
        """`log_softmax(logits)[tokens]` in float64, without the others; to the last bit."""
        logit, highest = self.logits.item, self.highest
        weights = self._weights  # there where the token was drawn by them
        total = _total(self.logits, highest) if weights is None else np.add.reduce(weights)
        log_total = float(np.log(total))
        return [logit(token) - highest - log_total for token in tokens]


def _total(x: np.ndarray, highest: float) -> float:
    """np.exp(x - highest).sum() in float64, to the last bit: halved as numpy's own sum is, which is
    pairwise."""
    if x.size > _AT_ONCE:
        half = x.size // 2
        half -= half % 8
        return _total(x[:half], highest) + _total(x[half:], highest)
    memory = getattr(_scratch, "exponentials", None)
    if memory is None:
        memory = _scratch.exponentials = np.empty(_AT_ONCE)
    exponentials = memory[: x.size]
    exponentials[:] = x
    exponentials -= highest
    np.exp(exponentials, exponentials)
    return float(np.add.reduce(exponentials))


def reached(x: np.ndarray, n: int) -> np.ndarray:
    """Ids in ascending order, among them those of the n highest: all that reach the nth highest of
    the parts' maxima. One look at each number; partitions of a whole vocabulary take ten."""
    part = max(1, min(_PART, x.size // n))
    whole = x.size // part * part
    highest = np.maximum.reduce(x[:whole].reshape(part, -1), axis=0)
    highest.partition(highest.size - n)
    ids = (x >= highest[-n]).nonzero()[0]
    return ids if ids.size >= n else np.arange(x.size)  # some are not numbers
