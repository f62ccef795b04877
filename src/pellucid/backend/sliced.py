"""Backends for work that must let others go first: they compute in slices of milliseconds and ask
before each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from .numpy import NumpyBackend

__all__ = ["SlicedBackend", "Turned"]

_SLICE = 1 << 27  # multiplications, two or three milliseconds of two cores
_FEWEST = 16  # rows: reading a weight takes as long as multiplying it with so many


class Turned:
    """What waits for its turn; the turn may be long in coming, and what it raises ends the work."""

    _wait_for_turn: Callable[[], AbstractContextManager[Any]]
    _has_turn = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Held around a slice; within it, of no effect."""
        if self._has_turn:
            yield
            return
        with self._wait_for_turn():
            self._has_turn = True
            try:
                yield
            finally:
                self._has_turn = False


class SlicedBackend(Turned, NumpyBackend):
    """The numpy backend so. turn: held around each slice.

    The same numbers up to rounding: sums are divided at other places.
    """

    def __init__(self, like: NumpyBackend, turn: Callable[[], AbstractContextManager[Any]]) -> None:
        super().__init__(like.dtype.name, like.threads)
        self._wait_for_turn = turn

    def _matmul(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0
    ) -> np.ndarray:
        n_row, (n_in, n_out) = x.shape[0], weight.shape
        each = max(64, _SLICE // (max(n_row, _FEWEST) * n_in))
        if each >= n_out:
            with self.turn():
                return super()._matmul(x, weight, bias)
        out = np.empty((n_row, n_out), np.result_type(x, weight))
        for low in range(0, n_out, each):
            columns = slice(low, low + each)
            added = bias if np.ndim(bias) == 0 else np.asarray(bias)[columns]
            with self.turn():
                out[:, columns] = super()._matmul(x, weight[:, columns], added)
        return out

    def _divide(self, part: Callable[[int, int], None], n: int, cost: int) -> None:
        if self._has_turn:
            super()._divide(part, n, cost)
            return
        each = max(1, _SLICE // max(1, cost))
        for low in range(0, n, each):
            with self.turn():
                super()._divide(
                    lambda start, stop, low=low: part(low + start, low + stop),  # type: ignore[misc]
                    min(each, n - low),
                    cost,
                )
