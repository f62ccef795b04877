"""The numpy backend for texts whose numbers must not depend, to the last bit, on those beside them.

A product of one row is summed otherwise than one of many, and attention otherwise where a text's
keys lie in one stretch than in two: too little to see in logits rounded to 5 digits, enough to
decide between two tokens that are as good as equally likely. Here every product has the same shape,
whatever stands in its rows, and each query attends alone, to keys laid side by side. One stream
is then as slow as 16.
"""

from __future__ import annotations

import math

import numpy as np

from .attention import one_query
from .numpy import NumpyBackend
from .protocol import KeyValues, Place, Segment, Turns, turned

__all__ = ["StrictBackend"]

_ROWS = 16  # of every product; what is missing is filled with zeros


class StrictBackend(NumpyBackend):
    """A row's numbers follow from that row, its text and the number of threads."""

    def __init__(self, like: NumpyBackend) -> None:
        super().__init__(like.dtype.name, like.threads)

    def _matmul(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0
    ) -> np.ndarray:
        n = len(x)
        out = np.empty((n, weight.shape[1]), np.result_type(x, weight))
        rows = np.zeros((_ROWS, x.shape[1]), x.dtype)
        for low in range(0, n, _ROWS):
            some = x[low : low + _ROWS]
            rows[: len(some)] = some
            rows[len(some) :] = 0
            out[low : low + len(some)] = super()._matmul(rows, weight, bias)[: len(some)]
        return out

    def attend(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        cache: KeyValues | None,
        layer: int,
        turns: Turns | None = None,
        reach: int | None = None,
    ) -> np.ndarray:
        n_batch, n_head, n_query, d_k = q.shape
        if turns is not None:
            q, k = turned(q, turns), turned(k, turns)
        q = q * (1 / math.sqrt(d_k))
        out = np.empty((n_batch, n_query, n_head, d_k), q.dtype).swapaxes(1, 2)
        work: list[tuple[Segment, int, int]] = []  # segment, query, keys that it sees
        for each in self._segments(k, v, cache, layer):
            keys, values = (np.concatenate(part, 1) for part in zip(*each.stretches, strict=True))
            whole = Segment(each.row, each.begin, each.n, [Place.whole(keys, values)])
            before = keys.shape[1] - each.n
            work += [
                (whole, each.begin + i, before + i + 1)
                for i in range(min(each.n, n_query - each.begin))
            ]

        def part(start: int, stop: int) -> None:
            for segment, at, seen in work[start:stop]:
                ((keys, values),) = segment.stretches
                new = np.ascontiguousarray(q[segment.row, :, at : at + 1])
                first = Segment(segment.row, at, 1, [Place(keys, values, 0, seen)])
                out[segment.row, :, at : at + 1] = one_query(new, first.last(reach))

        n_key = sum(seen for _, _, seen in work) // max(1, len(work))
        self._divide(part, len(work), cost=n_head * n_key * d_k)
        return out
