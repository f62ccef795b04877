"""The compiled backend for work that must let others go first (`sliced`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .native import NativeBackend
from .protocol import KeyValues, Norm, Turns
from .sliced import Turned

__all__ = ["SlicedNativeBackend"]

_SLICE = 1 << 28  # multiplications, some two milliseconds of two cores
_FEWEST = 32  # rows: reading a weight takes as long as multiplying it with so many


def _plainly(
    block: Callable[..., np.ndarray], x: np.ndarray, w: Any, layer: int, run: Any
) -> np.ndarray:
    return block(x, w, layer, run)


class SlicedNativeBackend(Turned, NativeBackend):
    """turn: held around each slice: some rows of a product, or another operation whole."""

    def __init__(
        self, like: NativeBackend, turn: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        super().__init__(like.weights, like.threads)
        self._wait_for_turn = turn
        self.apply_block = _plainly  # a block asked again would not wait

    def linear(
        self,
        x: np.ndarray,
        w: Any,
        *,
        norm: Norm | None = None,
        gelu: bool = False,
        swiglu: bool = False,
        add: np.ndarray | None = None,
    ) -> np.ndarray:
        how: dict[str, Any] = {"norm": norm, "gelu": gelu, "swiglu": swiglu}
        each = max(_FEWEST, _SLICE // (w.n_in * w.n_out))
        n_row = x.size // w.n_in
        if n_row <= each:
            with self.turn():
                return super().linear(x, w, **how, add=add)
        rows = x.reshape(n_row, w.n_in)
        n_out = w.n_out // 2 if swiglu else w.n_out
        added = None if add is None else add.reshape(n_row, n_out)
        out = np.empty((n_row, n_out), np.float32)
        for low in range(0, n_row, each):
            some = slice(low, low + each)
            more = None if added is None else added[some]
            with self.turn():
                out[some] = super().linear(rows[some], w, **how, add=more)
        return out.reshape(*x.shape[:-1], n_out)

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
        with self.turn():
            return super().attend(q, k, v, cache, layer, turns, reach)

    def matmul(self, x: np.ndarray, y: Any) -> np.ndarray:
        with self.turn():
            return super().matmul(x, y)

    def layer_norm(
        self, x: np.ndarray, gain: np.ndarray, bias: np.ndarray | None, epsilon: float
    ) -> np.ndarray:
        with self.turn():
            return super().layer_norm(x, gain, bias, epsilon)

    def gelu(self, x: np.ndarray) -> np.ndarray:
        with self.turn():
            return super().gelu(x)

    def swiglu(self, gate: np.ndarray, x: np.ndarray) -> np.ndarray:
        with self.turn():
            return super().swiglu(gate, x)

    def softmax(self, x: np.ndarray) -> np.ndarray:
        with self.turn():
            return super().softmax(x)
