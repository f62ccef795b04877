"""The operations on numpy: the default everywhere, nothing to compile, starts in a blink.

BLAS is held to one thread and the work is divided here: its own threads spin and collapse as
soon as another process wants a core, and they do not help matrix × vector at all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .attention import one_query, queries
from .protocol import KeyValues, Norm, Place, Segment, Turns, taken_in, turned

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["NumpyBackend", "cores"]

_SMALL = 1 << 20  # multiplications below which handing work to a thread costs more than it saves
_CHUNK = 1 << 15  # numbers worked on at a time, so that they stay in a core's cache
_FEW_ROWS = 128  # up to so many, a product is divided by the columns of its result


class NumpyBackend:
    name = "numpy"

    def __init__(self, dtype: str = "float32", threads: int | None = None) -> None:
        if dtype not in ("float32", "float64"):
            raise InputError(f"the numpy backend computes in float32 or float64, not {dtype!r}")
        self.dtype = np.dtype(dtype)
        self.threads = threads or cores()
        self._pool: ThreadPoolExecutor | None = None
        self._blas: Any = None
        self._limits: ExitStack | None = None  # of the pass that is being computed

    @property
    def divides(self) -> bool:
        """Whether there was work yet that was large enough to be divided between threads."""
        return self._pool is not None

    # Arrays in and out

    def asarray(self, values: Any) -> np.ndarray:
        return np.asarray(values, self.dtype)

    def ids(self, values: Any) -> np.ndarray:
        return np.asarray(values, np.int64)

    def to_numpy(self, x: np.ndarray) -> np.ndarray:
        return x

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape, self.dtype)

    def to_cache(self, k: np.ndarray) -> np.ndarray:
        return k

    def from_cache(self, kept: np.ndarray) -> np.ndarray:
        return kept

    # Weights: here, the plain arrays

    def prepare(self, w: Any) -> Any:
        return type(w)(*(None if x is None else self.asarray(x) for x in w))

    def dense(self, w: Any) -> np.ndarray:
        return np.asarray(w.weight)

    # The model's operations

    def embedding(self, w: Any, ids: np.ndarray) -> np.ndarray:
        return np.asarray(w.weight[ids])

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
        if norm is not None:
            x = self.layer_norm(x, *norm)
        n_in, n_out = w.weight.shape
        bias = 0.0 if w.bias is None else w.bias
        out = self._matmul(x.reshape(-1, n_in), w.weight, bias).reshape(*x.shape[:-1], n_out)
        if gelu:
            out = self.gelu(out)
        if swiglu:
            out = self.swiglu(out[..., : n_out // 2], out[..., n_out // 2 :])
        return out if add is None else add + out

    def matmul(self, x: np.ndarray, y: Any) -> np.ndarray:
        n_batch, n_head, n_row, n = x.shape
        if not isinstance(y, np.ndarray):
            y = self.dense(y).reshape(1, n_head, n, -1)
        out = np.empty((n_batch, n_head, n_row, y.shape[3]), np.result_type(x, y))

        def heads(start: int, stop: int) -> None:
            np.matmul(x[:, start:stop], y[:, start:stop], out=out[:, start:stop])

        self._divide(heads, n_head, cost=n_batch * n_row * n * y.shape[3])
        return out

    def unembed(self, x: np.ndarray, w: Any) -> np.ndarray:
        n_row, n = w.weight.shape
        out = self._matmul(x.reshape(-1, n), w.weight.T)
        return out.reshape(*x.shape[:-1], n_row)

    def layer_norm(
        self, x: np.ndarray, gain: np.ndarray, bias: np.ndarray | None, epsilon: float
    ) -> np.ndarray:
        if bias is None:
            return np.asarray(x / np.sqrt(self.mean(x * x) + epsilon) * gain)
        out = x - self.mean(x)
        out /= np.sqrt(self.mean(out * out) + epsilon)
        out *= gain
        out += bias
        return np.asarray(out)

    def mean(self, x: np.ndarray) -> np.ndarray:
        # What x.mean does, which takes three times as long on a single row.
        return np.asarray(np.add.reduce(x, -1, keepdims=True) / x.dtype.type(x.shape[-1]))

    def sqrt(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(x))

    def gelu(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, x.dtype)
        source, target = x.reshape(-1), out.reshape(-1)
        a, b = math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715

        def part(start: int, stop: int) -> None:
            for low in range(start, stop, _CHUNK):
                v = source[low : min(low + _CHUNK, stop)]
                u = target[low : min(low + _CHUNK, stop)]
                np.multiply(v, v, out=u)
                u *= b
                u += a
                u *= v
                np.tanh(u, out=u)
                u += 1.0
                u *= v
                u *= 0.5

        self._divide(part, source.size, cost=16)
        return out

    def swiglu(self, gate: np.ndarray, x: np.ndarray) -> np.ndarray:
        out = np.empty(gate.shape, gate.dtype)
        gates, others, targets = (each.reshape(-1, gate.shape[-1]) for each in (gate, x, out))

        def part(start: int, stop: int) -> None:
            some = targets[:, start:stop]
            with np.errstate(over="ignore"):  # a gate that is shut: 1 / ∞
                np.exp(-gates[:, start:stop], out=some)
            some += 1.0
            np.divide(gates[:, start:stop], some, out=some)
            some *= others[:, start:stop]

        self._divide(part, gate.shape[-1], cost=16 * len(gates))
        return out

    def softmax(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, x.dtype)
        source, target = (each.reshape(-1, x.shape[-1]) for each in (x, out))

        def part(start: int, stop: int) -> None:
            rows = target[start:stop]
            np.subtract(source[start:stop], source[start:stop].max(-1, keepdims=True), out=rows)
            np.exp(rows, out=rows)
            rows /= rows.sum(-1, keepdims=True)

        self._divide(part, len(source), cost=16 * x.shape[-1])
        return out

    def causal_mask(
        self, past: np.ndarray, n_query: int, n_key: int, reach: int | None = None
    ) -> np.ndarray:
        last, keys = past[:, None, None, None] + np.arange(n_query)[:, None], np.arange(n_key)
        seen = keys <= last
        return np.asarray(seen if reach is None else seen & (keys > last - reach))

    def hide(self, scores: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        if mask is None:
            return scores.copy()
        return np.where(mask, scores, np.array(-np.inf, scores.dtype))

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
        segments, shared = self._segments(k, v, cache, layer), n_head // k.shape[1]
        q = q * (1 / math.sqrt(d_k))
        if n_query == 1 and len(segments) == 1:
            return one_query(q[0], segments[0].last(reach))[None]
        # Written as [batch, position, head, d_k], so that the heads lie side by side.
        out = np.empty((n_batch, n_query, n_head, d_k), q.dtype).swapaxes(1, 2)
        spans = [(each, each.begin, min(each.begin + each.n, n_query)) for each in segments]
        # One query at a time takes all heads in one product; else each head is a piece of work.
        work = [
            (each, heads, low, high)
            for each, low, high in spans
            for heads in ([slice(None)] if high - low == 1 else range(n_head))
        ]

        def part(start: int, stop: int) -> None:
            for segment, heads, low, high in work[start:stop]:
                new, target = q[segment.row, heads, low:high], out[segment.row, heads, low:high]
                if isinstance(heads, slice):
                    target[:] = one_query(new, segment.last(reach))
                else:
                    queries(new, segment, heads // shared, target, reach)

        n_key = sum(each.n_key for each in segments) // len(segments)
        n_each = n_head * sum(high - low for _, low, high in spans) // len(work)
        self._divide(part, len(work), cost=n_each * n_key * d_k)
        return out

    def _segments(
        self, k: np.ndarray, v: np.ndarray, cache: KeyValues | None, layer: int
    ) -> list[Segment]:
        """Where each text's keys and values lie, the new ones k, v included."""
        if cache is not None:
            return taken_in(cache, layer, k, v)
        n_batch, _, n, _ = k.shape
        return [Segment(row, 0, n, [Place.whole(k[row], v[row])]) for row in range(n_batch)]

    def dropout(self, x: np.ndarray) -> np.ndarray:
        return x

    def computing(self) -> _Computing:
        """BLAS on one thread, from the first work on that is divided here."""
        return _Computing(self)

    def _limit_blas(self) -> None:
        if self._blas is not None and self._limits is not None:
            self._limits.enter_context(self._blas.limit(limits=1, user_api="blas"))

    # The work, divided

    def _matmul(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """x [row, in] · weight [in, out] + bias -> [row, out], by columns of the result, or by rows
        where there are many.

        To the bit, a row's result is one thing alone and another among others; from 2 rows on, how
        many there are and at which place it stands changes nothing, save where a thread's share is
        below 1,000,000 multiplications, for which OpenBLAS has another kernel (LOG.md).
        """
        n_row, n_out = x.shape[0], weight.shape[1]
        if n_row == 1:
            return np.asarray(self._vector_matrix(x[0], weight) + bias)[None, :]
        out = np.empty((n_row, n_out), np.result_type(x, weight))
        if n_row > _FEW_ROWS:

            def rows(start: int, stop: int) -> None:
                np.matmul(x[start:stop], weight, out=out[start:stop])
                out[start:stop] += bias

            self._divide(rows, n_row, cost=weight.size)
            return out
        biases = np.broadcast_to(bias, n_out)

        def columns(start: int, stop: int) -> None:
            # The transposed product, which BLAS computes faster where x has few rows.
            turned = np.matmul(weight[:, start:stop].T, x.T)
            np.add(turned.T, biases[start:stop], out=out[:, start:stop])

        self._divide(columns, n_out, cost=n_row * weight.shape[0])
        return out

    def _vector_matrix(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """x [in] · weight [in, out] -> [out]: bound by memory, so each thread reads one stretch
        of it. einsum reads at the memory's speed; BLAS, here, at a third to a half of it."""
        n_in, n_out = weight.shape
        if weight.strides[0] < weight.strides[1]:  # transposed: each column is a stretch
            out = np.empty(n_out, np.result_type(x, weight))

            def columns(start: int, stop: int) -> None:
                np.einsum("i,ij->j", x, weight[:, start:stop], out=out[start:stop])

            self._divide(columns, n_out, cost=n_in)
            return out
        sums: dict[int, np.ndarray] = {}

        def rows(start: int, stop: int) -> None:
            sums[start] = np.einsum("i,ij->j", x[start:stop], weight[start:stop])

        self._divide(rows, n_in, cost=n_out)
        first, *others = (sums[start] for start in sorted(sums))
        for other in others:
            first += other
        return first

    def _divide(self, part: Callable[[int, int], None], n: int, cost: int) -> None:
        """part(start, stop) over 0…n, in as many pieces as there are threads."""
        pieces = min(self.threads, n)
        if pieces < 2 or n * cost < _SMALL:
            part(0, n)
            return
        pool = self._pool or self._start_threads()
        bounds = [n * i // pieces for i in range(pieces + 1)]
        waiting = [pool.submit(part, bounds[i], bounds[i + 1]) for i in range(1, pieces)]
        try:
            part(0, bounds[1])
        finally:
            for future in waiting:
                future.result()

    def _start_threads(self) -> ThreadPoolExecutor:
        # Only a model large enough to divide pays for threads and for looking for BLAS.
        from concurrent.futures import ThreadPoolExecutor

        from threadpoolctl import ThreadpoolController

        self._pool = ThreadPoolExecutor(self.threads - 1, "pellucid")
        with suppress(OSError):  # where no library can be looked up, BLAS keeps its own threads
            self._blas = ThreadpoolController()
        self._limit_blas()
        return self._pool


class _Computing:
    """A pass of a backend, from its first operation to its last."""

    __slots__ = ("_backend", "_limits")

    def __init__(self, backend: NumpyBackend) -> None:
        self._backend = backend
        self._limits = ExitStack()

    def __enter__(self) -> None:
        self._backend._limits = self._limits
        self._backend._limit_blas()

    def __exit__(self, *error: object) -> None:
        self._backend._limits = None
        self._limits.close()


def cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
