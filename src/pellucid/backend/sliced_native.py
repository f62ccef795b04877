"""The compiled backend for work that must let others go first (`sliced`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import numpy as np

from .native import NativeBackend
from .protocol import Norm
from .sliced import Turned

__all__ = ["SlicedNativeBackend"]

P = ParamSpec("P")

_SLICE = 1 << 28  # multiplications, some two milliseconds of two cores
_FEWEST = 32  # rows: reading a weight takes as long as multiplying it with so many


def _in_a_turn(
    operation: Callable[Concatenate[Any, P], np.ndarray],
) -> Callable[Concatenate[Any, P], np.ndarray]:
    """The operation of a backend that is `Turned`, in one slice."""

    @wraps(operation)
    def run(self: Any, /, *values: P.args, **named: P.kwargs) -> np.ndarray:
        with self.turn():
            return operation(self, *values, **named)

    return run


class SlicedNativeBackend(Turned, NativeBackend):
    """turn: held around each slice: some rows of a product, or another operation whole."""

    def __init__(
        self, like: NativeBackend, turn: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        super().__init__(like.weights, like.threads, like.keys)
        self._wait_for_turn = turn
        del self.apply_block  # a block asked again would not wait

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

    # Whole: none of them takes as long as a large product.
    attend = _in_a_turn(NativeBackend.attend)
    matmul = _in_a_turn(NativeBackend.matmul)
    layer_norm = _in_a_turn(NativeBackend.layer_norm)
    gelu = _in_a_turn(NativeBackend.gelu)
    swiglu = _in_a_turn(NativeBackend.swiglu)
    softmax = _in_a_turn(NativeBackend.softmax)
