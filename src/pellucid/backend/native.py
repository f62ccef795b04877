"""The operations as compiled kernels: weights in the layout that a processor reads fastest.

Needs the distribution `pellucid-native` (native/ in the repository). Arrays are numpy's, in
float32; only weights, and keys and values, are kept smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pellucid_native as kernels

from ..errors import InputError
from .numpy import NumpyBackend
from .protocol import KeyValues, Norm, Place, Segment, Turns
from .replay import NO_NORM, Replay
from .rooms import Rooms, aligned

__all__ = ["NativeBackend", "Packed", "Stored"]

if getattr(kernels, "PROTOCOL", 1) != 4:  # another version of Pellucid's
    raise ImportError("its version does not fit this Pellucid")

_FLOAT32 = np.dtype(np.float32)
_FEW_ROWS = 4  # up to so many, heads are multiplied row by row, as the second part lies
_NOT_IN_ROWS = (ValueError, BufferError)  # the kernels take no such array: it is copied
_GROUPS = (1, 32, 64, 32)  # rows of a weight that the kernels take together, by format
_SMALL, _ROOM = 1 << 18, 1 << 25  # bytes of a weight; of the room that large ones share
FORMATS = {"float32": 0, "bfloat16": 1, "int8": 2, "int4": 3}
KEYS = ("float32", "float16", "int8")
_SOME_ROWS = 256  # of a table, looked at together
_SCALE = 4  # bytes behind those of a key or value: what one stands for, a float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A weight's numbers as the kernels read them, without its bias: what can be kept in a file.

    shape: [in, out], or of a table of embeddings [row, n], which lies as its transpose. unit:
    multiplies every scale.
    """

    shape: tuple[int, ...]
    format: int
    unit: float
    data: np.ndarray  # bytes
    scales: np.ndarray  # float16, as bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A weight as this backend computes with it: [n_in, n_out], a table transposed."""

    handle: Any
    n_in: int
    n_out: int
    bias: np.ndarray | None
    table: bool
    stored: Stored


class NativeBackend(NumpyBackend):
    """dtype: of the weights: "float32", "bfloat16", "int8" (groups of 64 share a scale), "int4" (of
    32; a table, of embeddings or of the output layer, stays int8 unless it was rounded to 4 bits
    before). What was rounded to 4 bits before keeps its numbers in int4. Values that are multiplied
    with integers become bytes, group by group, at each product.

    keys: of the keys and values of a cache: "float32", which float32 weights have, "float16", which
    all others have, or "int8": of each head's d_k numbers a byte each, and one scale."""

    name = "native"
    side_by_side = True  # texts of any lengths in one row are as fast as in rows

    def __init__(
        self, dtype: str = "float32", threads: int | None = None, keys: str | None = None
    ) -> None:
        if dtype not in FORMATS:
            raise InputError(
                f"the native backend's weights are {', '.join(FORMATS)}, not {dtype!r}"
            )
        if keys not in (None, *KEYS):
            raise InputError(f"keys and values are {', '.join(KEYS)}, not {keys!r}")
        super().__init__("float32", threads)
        self.weights = dtype
        self.keys = keys or ("float32" if dtype == "float32" else "float16")
        self._format = FORMATS[dtype]
        self.apply_block: Callable[..., np.ndarray] = Replay(self)
        self._new = Rooms().empty
        self._rooms: list[np.ndarray] = []  # for weights to come
        # So many tokens of a text get in one pass the very numbers that they get one by one; more
        # are attended together. Products with floats sum otherwise from four rows on: in the last
        # bit, of which only what is rounded on the way makes more.
        exact = dtype in ("int8", "int4") or dtype == self.keys == "float32"
        self.alike = 9 if exact else 3

    # Keys and values

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.keys == "int8":
            return np.zeros((*shape[:-1], shape[-1] + _SCALE), np.uint8)
        return np.zeros(shape, self.keys)

    def to_cache(self, k: np.ndarray) -> np.ndarray:
        if self.keys != "int8":
            return k
        kept = np.empty((*k.shape[:-1], k.shape[-1] + _SCALE), np.uint8)
        k = in_float32(k)
        most = np.abs(k).max(-1, keepdims=True)
        steps = np.divide(127, most, out=np.zeros_like(most), where=most > 1e-30)
        kept[..., :-_SCALE] = np.rint(k * steps).astype(np.int8).view(np.uint8)
        kept[..., -_SCALE:] = (most / 127).view(np.uint8)
        return kept

    def from_cache(self, kept: np.ndarray) -> np.ndarray:
        if self.keys != "int8":
            return kept
        scales = np.ascontiguousarray(kept[..., -_SCALE:]).view(np.float32)
        return np.asarray(kept[..., :-_SCALE].view(np.int8) * scales)

    # Weights

    def prepare(self, w: Any) -> Packed:
        """w.weight may be `Stored` already."""
        table = not hasattr(w, "bias")
        stored = w.weight if isinstance(w.weight, Stored) else self._pack(w.weight, table)
        n_in, n_out = stored.shape[::-1] if table else stored.shape
        data, scales = stored.data, stored.scales
        return Packed(
            handle=kernels.weight(stored.format, n_in, n_out, stored.unit, data, scales),
            n_in=n_in,
            n_out=n_out,
            bias=None if table or w.bias is None else self.asarray(w.bias),
            table=table,
            stored=stored,
        )

    def _pack(self, weight: np.ndarray, table: bool) -> Stored:
        numbers = np.asarray(weight, np.float32)
        if not table:
            return self._filled(numbers, numbers.shape, self._format)
        if self._format == FORMATS["int4"]:
            some = numbers[:: max(1, len(numbers) // _SOME_ROWS)]
            if self._in_4_bits(some) is not None and (kept := self._in_4_bits(numbers)) is not None:
                return kept
        return self._filled(numbers.T, numbers.shape, min(self._format, FORMATS["int8"]))

    def _in_4_bits(self, rows: np.ndarray) -> Stored | None:
        """A table [row, n] in int4, where that changes none of its numbers."""
        stored = self._filled(rows.T, rows.shape, FORMATS["int4"])
        n, n_in = rows.shape
        handle = kernels.weight(stored.format, n_in, n, stored.unit, stored.data, stored.scales)
        for begin in range(0, n, _SOME_ROWS):
            part = rows[begin : begin + _SOME_ROWS]
            kept = np.empty(part.shape, np.float32)
            kernels.columns(self.threads, handle, np.arange(begin, begin + len(part)), kept)
            if not np.array_equal(kept, part):
                return None
        return stored

    def _filled(self, numbers: np.ndarray, shape: tuple[int, ...], format: int) -> Stored:
        """numbers [in, out], of any strides. shape: as `Stored` has it."""
        n_bytes, n_scales = kernels.sizes(format, *numbers.shape)
        data, scales = self._place(n_bytes), np.zeros(n_scales, np.uint16)
        largest = float(np.abs(numbers).max(initial=0.0)) / (127 if format == 2 else 8)
        # The largest scale comes to stand near 2^10, where float16 is at its best for all others.
        unit = 2.0 ** (np.ceil(np.log2(largest)) - 10) if largest > 0 else 1.0
        unit = unit if format >= 2 else 1.0
        kernels.fill(self.threads, format, unit, numbers, data, scales)
        return Stored(shape=shape, format=format, unit=unit, data=data, scales=scales)

    def _place(self, n_bytes: int) -> np.ndarray:
        """Room for a weight. Large ones lie side by side: numpy asks for pages of 2 MiB only for
        what is larger than two of them, and in small pages memory is read more slowly."""
        if n_bytes < _SMALL:
            return aligned(n_bytes)
        # Taken out and put back, so that two threads never place a weight in the same room.
        try:
            room = self._rooms.pop()
        except IndexError:
            room = aligned(0)
        if n_bytes > room.size:
            room = aligned(max(n_bytes, _ROOM), 2 << 20)
        self._rooms.append(room[-(-n_bytes // 64) * 64 :])
        return room[:n_bytes]

    def dense(self, w: Any) -> np.ndarray:
        if not isinstance(w, Packed):
            return np.asarray(w.weight)
        rows = np.empty((w.n_out, w.n_in), np.float32)
        kernels.columns(self.threads, w.handle, None, rows)
        return rows if w.table else np.ascontiguousarray(rows.T)

    # Operations

    def embedding(self, w: Any, ids: np.ndarray) -> np.ndarray:
        if not isinstance(w, Packed):
            return np.asarray(w.weight[ids])
        out = self._new((*ids.shape, w.n_in))
        kernels.columns(self.threads, w.handle, np.ascontiguousarray(ids), out)
        return out

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
        gain, shift, epsilon = norm or NO_NORM
        n_out = w.n_out // 2 if swiglu else w.n_out
        out = self._new(x.shape[:-1] + (n_out,))  # noqa: RUF005, half the time
        fixed = (w.bias, gain, shift, epsilon, 2 if swiglu else gelu)
        try:
            kernels.linear(self.threads, w.handle, x, out, *fixed, add)
        except _NOT_IN_ROWS:
            add = None if add is None else in_float32(add)
            kernels.linear(self.threads, w.handle, in_float32(x), out, *fixed, add)
        return out

    def unembed(self, x: np.ndarray, w: Any) -> np.ndarray:
        return self.linear(x, w)

    def matmul(self, x: np.ndarray, y: Any) -> np.ndarray:
        n_batch, n_head, n_row, _ = x.shape
        if isinstance(y, Packed):
            shared = max(1, _GROUPS[y.stored.format] // x.shape[3])  # heads of one group
            if shared > 1 and n_head % shared == 0:
                return self._matmul_shared(x, y, shared)
            out = self._new((n_batch, n_row, n_head, y.n_out))
            rows = in_float32(x.swapaxes(1, 2)).reshape(-1, n_head, x.shape[3])
            try:
                kernels.heads(self.threads, y.handle, rows, out.reshape(-1, n_head, y.n_out))
            except ValueError:  # heads of other sizes than whole groups
                return super().matmul(in_float32(x), y)
            return out.swapaxes(1, 2)
        if n_batch * n_row <= _FEW_ROWS:
            out = np.empty((n_batch, n_head, n_row, y.shape[3]), np.float32)
            try:
                kernels.matmul(self.threads, x, y, out)
            except _NOT_IN_ROWS:
                return super().matmul(in_float32(x), in_float32(y))
            return out
        return super().matmul(x, y if y.dtype == np.float32 else y.astype(np.float32))

    def _matmul_shared(self, x: np.ndarray, y: Packed, shared: int) -> np.ndarray:
        """As many heads have their rows in one group of a weight's: each is multiplied with the
        whole group, where the others of it are 0."""
        n_batch, n_head, n_row, d_k = x.shape
        n_group, n_all = n_head // shared, n_batch * n_row
        alone = np.zeros((n_all, shared, n_group, shared, d_k), np.float32)
        rows = x.swapaxes(1, 2).reshape(n_all, n_group, shared, d_k)
        for head in range(shared):
            alone[:, head, :, head] = rows[:, :, head]
        out = self._new((n_all, shared, n_group, y.n_out))
        try:
            kernels.heads(
                self.threads,
                y.handle,
                alone.reshape(n_all * shared, n_group, shared * d_k),
                out.reshape(n_all * shared, n_group, y.n_out),
            )
        except ValueError:  # a last group that is not full
            return super().matmul(in_float32(x), y)
        out = np.ascontiguousarray(out.swapaxes(1, 2)).reshape(n_batch, n_row, n_head, y.n_out)
        return out.swapaxes(1, 2)

    def layer_norm(
        self, x: np.ndarray, gain: np.ndarray, bias: np.ndarray | None, epsilon: float
    ) -> np.ndarray:
        out = self._new(x.shape)
        kernels.layer_norm(self.threads, in_float32(x), gain, bias, epsilon, out)
        return out

    def gelu(self, x: np.ndarray) -> np.ndarray:
        out = self._new(x.shape)
        kernels.gelu(self.threads, in_float32(x), out)
        return out

    def softmax(self, x: np.ndarray) -> np.ndarray:
        out = self._new(x.shape)
        kernels.softmax(self.threads, in_float32(x), out)
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
        out = self._new((n_batch, n_query, n_head, d_k)).swapaxes(1, 2)
        if cache is None:
            keys, values = self.zeros((2, n_batch, *k.shape[1:]))
            segments = [
                Segment(row, 0, k.shape[2], [Place.whole(keys[row], values[row])])
                for row in range(n_batch)
            ]
        else:
            segments = cache.segments(layer, k.shape[2])
        if reach is not None:
            if any(each.n > 1 and each.n_key > reach for each in segments):
                # The kernels know no band; numpy does.
                return super().attend(q, k, v, cache, layer, turns, reach)
            segments = [each.last(reach) for each in segments]
        try:
            kernels.attend(self.threads, q, k, v, out, segments, *(turns or ()))
        except _NOT_IN_ROWS:
            q, k, v = map(in_float32, (q, k, v))
            kernels.attend(self.threads, q, k, v, out, segments, *(turns or ()))
        return out

    def _segments(
        self, k: np.ndarray, v: np.ndarray, cache: KeyValues | None, layer: int
    ) -> list[Segment]:
        kept = super()._segments(self.to_cache(k), self.to_cache(v), cache, layer)
        if self.keys != "int8":
            return kept
        read = self.from_cache
        return [
            each._replace(places=[Place.whole(read(k), read(v)) for k, v in each.stretches])
            for each in kept
        ]


def in_float32(x: np.ndarray) -> np.ndarray:
    """As the kernels take numbers: float32, side by side. A tap may have put others in place."""
    return np.ascontiguousarray(x, np.float32)
