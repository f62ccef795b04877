"""The operations as compiled kernels: weights in the layout that a processor reads fastest.

Needs the distribution `pellucid-native` (native/ in the repository). Arrays are numpy's, in
float32; only weights, and with other dtypes than float32 the keys and values, are kept smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pellucid_native as kernels

from ..errors import InputError
from .numpy import NumpyBackend
from .protocol import KeyValues, Norm, Segment

__all__ = ["NativeBackend", "Packed"]

_NO_NORM = (None, None, 0.0)
FORMATS = {"float32": 0, "bfloat16": 1, "int8": 2, "int4": 3}


@dataclass(frozen=True, slots=True)
class Packed:
    """A weight [n_in, n_out] as the kernels read it. data, scales: its bytes, which `handle` reads.
    n: rows of a table of embeddings, which is kept as the product with its transpose needs it."""

    handle: Any
    n_in: int
    n_out: int
    bias: np.ndarray | None


class NativeBackend(NumpyBackend):
    """dtype: of the weights: "float32", "bfloat16", "int8" (groups of 64 share a scale), "int4" (of
    32; the table of embeddings, which is the output layer too, stays int8). Values that are
    multiplied with integers become bytes, group by group, at each product."""

    name = "native"

    def __init__(self, dtype: str = "float32", threads: int | None = None) -> None:
        if dtype not in FORMATS:
            raise InputError(
                f"the native backend's weights are {', '.join(FORMATS)}, not {dtype!r}"
            )
        super().__init__("float32", threads)
        self.weights = dtype
        self._format = FORMATS[dtype]
        self._cached = np.dtype("float32" if dtype == "float32" else "float16")

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape, self._cached)

    # Weights

    def prepare(self, w: Any) -> Packed:
        numbers = np.asarray(w.weight, np.float32)
        if hasattr(w, "bias"):
            return self._pack(numbers, self._format, self.asarray(w.bias))
        return self._pack(numbers.T, min(self._format, FORMATS["int8"]), None)

    def _pack(self, numbers: np.ndarray, format: int, bias: np.ndarray | None) -> Packed:
        n_in, n_out = numbers.shape
        n_bytes, n_scales = kernels.sizes(format, n_in, n_out)
        data, scales = aligned(n_bytes), np.zeros(n_scales, np.uint16)
        largest = float(np.abs(numbers).max(initial=0.0)) / (127 if format == 2 else 8)
        # The largest scale comes to stand near 2^10, where float16 is at its best for all others.
        unit = 2.0 ** (np.ceil(np.log2(largest)) - 10) if largest > 0 else 1.0
        unit = unit if format >= 2 else 1.0
        kernels.fill(self.threads, format, unit, numbers, data, scales)
        handle = kernels.weight(format, n_in, n_out, unit, data, scales)
        return Packed(handle, n_in, n_out, bias)

    def dense(self, w: Any) -> np.ndarray:
        if not isinstance(w, Packed):
            return np.asarray(w.weight)
        rows = np.empty((w.n_out, w.n_in), np.float32)
        kernels.columns(self.threads, w.handle, None, rows)
        return rows if w.bias is None else np.ascontiguousarray(rows.T)

    # Operations

    def embedding(self, w: Any, ids: np.ndarray) -> np.ndarray:
        if not isinstance(w, Packed):
            return np.asarray(w.weight[ids])
        out = np.empty((*ids.shape, w.n_in), np.float32)
        kernels.columns(self.threads, w.handle, np.ascontiguousarray(ids), out)
        return out

    def linear(
        self,
        x: np.ndarray,
        w: Any,
        *,
        norm: Norm | None = None,
        gelu: bool = False,
        add: np.ndarray | None = None,
    ) -> np.ndarray:
        gain, shift, epsilon = norm or _NO_NORM
        out = np.empty((*x.shape[:-1], w.n_out), np.float32)
        added = None if add is None else dense_rows(add)
        x = dense_rows(x)
        kernels.linear(self.threads, w.handle, x, out, w.bias, gain, shift, epsilon, gelu, added)
        return out

    def unembed(self, x: np.ndarray, w: Any) -> np.ndarray:
        return self.linear(x, w)

    def matmul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return super().matmul(x, y if y.dtype == np.float32 else y.astype(np.float32))

    def layer_norm(
        self, x: np.ndarray, gain: np.ndarray, bias: np.ndarray, epsilon: float
    ) -> np.ndarray:
        out = np.empty(x.shape, np.float32)
        kernels.layer_norm(self.threads, dense_rows(x), gain, bias, epsilon, out)
        return out

    def gelu(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, np.float32)
        kernels.gelu(self.threads, dense_rows(x), out)
        return out

    def softmax(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, np.float32)
        kernels.softmax(self.threads, dense_rows(x), out)
        return out

    def attend(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, cache: KeyValues | None, layer: int
    ) -> np.ndarray:
        n_batch, n_head, n_query, d_k = q.shape
        out = np.empty((n_batch, n_query, n_head, d_k), np.float32).swapaxes(1, 2)
        if cache is None:
            keys, values = np.empty((2, n_batch, n_head, k.shape[2], d_k), self._cached)
            segments = [
                Segment(row, 0, k.shape[2], [(keys[row], values[row])]) for row in range(n_batch)
            ]
        else:
            segments = cache.segments(layer, k.shape[2])
        kernels.attend(self.threads, in_rows(q), in_rows(k), in_rows(v), out, segments)
        return out

    @contextmanager
    def computing(self) -> Iterator[None]:
        yield


def dense_rows(x: np.ndarray) -> np.ndarray:
    """As the kernels take numbers: float32, side by side. A tap may have put others in place."""
    return np.ascontiguousarray(x, np.float32)


def in_rows(x: np.ndarray) -> np.ndarray:
    """The same, where only the last axis must lie side by side."""
    if x.dtype == np.float32 and (x.strides[-1] == 4 or x.shape[-1] == 1):
        return x
    return np.ascontiguousarray(x, np.float32)


def aligned(n_bytes: int) -> np.ndarray:
    """Room that begins at a multiple of 64 bytes."""
    room = np.empty(n_bytes + 64, np.uint8)
    begin = -room.ctypes.data % 64
    return room[begin : begin + n_bytes]
