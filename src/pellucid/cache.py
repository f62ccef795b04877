"""The keys and values already computed, so that each new token costs one row of work."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, Backend, Place, Segment
from .errors import ContextError, InputError
from .hparams import HParams

__all__ = ["Cache"]


class Cache:
    """Keys and values of every layer for a batch of sequences, each with a length of its own.

    keys, values: per layer [batch, head, room, d_k], as `Backend.to_cache` keeps them; of each row
    only the first `lengths[row]` positions mean anything. room: tokens of a row (None: the whole
    window), reserved, not touched.
    """

    def __init__(
        self, hparams: HParams, backend: Backend, batch: int = 1, room: int | None = None
    ) -> None:
        if batch < 1:
            raise InputError(f"batch must be at least 1, not {batch}")
        self.room = hparams.n_ctx if room is None else min(room, hparams.n_ctx)
        self.hparams = hparams
        self.backend = backend
        self.batch = batch
        shape = (batch, hparams.n_kv_head, self.room, hparams.d_k)
        self.keys = [backend.zeros(shape) for _ in range(hparams.n_layer)]
        self.values = [backend.zeros(shape) for _ in range(hparams.n_layer)]
        self._rows = self._by_row()
        self._lengths = [0] * batch  # plain numbers: they are asked for at every token

    @property
    def lengths(self) -> np.ndarray:
        """Tokens held by each row, [batch]."""
        return np.array(self._lengths, np.int64)

    @property
    def length(self) -> int:
        """Tokens held by the longest row."""
        return max(self._lengths)

    @property
    def past(self) -> np.ndarray:
        """Tokens before the next one: [1] where all rows agree, else [batch]."""
        return np.array(self._past, np.int64)

    @property
    def _past(self) -> list[int]:
        lengths = self._lengths
        return lengths[:1] if lengths.count(lengths[0]) == len(lengths) else lengths

    def positions(self, new: int) -> np.ndarray:
        """Where in their texts the next tokens stand: [batch or 1, new]."""
        return np.array([range(past, past + new) for past in self._past], np.int64)

    def check_room(self, tokens: int) -> None:
        """Raises ContextError when so many more tokens do not fit."""
        if self.length + tokens > self.room:
            what = "context window of n_ctx" if self.room == self.hparams.n_ctx else "cache's room"
            raise ContextError(
                f"{self.length} tokens in the cache and {tokens} more exceed the {what} "
                f"= {self.room}"
            )

    def append(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """k, v [batch, head, new, d_k] -> all so far, [batch, head, key, d_k].

        The new ones count only after `advance`: a pass that breaks off leaves no trace.
        """
        new, backend = k.shape[2], self.backend
        k, v = backend.to_cache(k), backend.to_cache(v)
        keys, values = self.keys[layer], self.values[layer]
        past = self._past
        if len(past) == 1:
            seen = past[0] + new
            keys[:, :, past[0] : seen] = k
            values[:, :, past[0] : seen] = v
        else:
            for each in self.segments(layer, new):
                each.take_in(k, v)
            seen = self.length + new
        return backend.from_cache(keys[:, :, :seen]), backend.from_cache(values[:, :, :seen])

    def segments(self, layer: int, new: int) -> list[Segment]:
        """Per row where its keys and values lie, with room for new ones at their end."""
        rows = self._rows[layer]
        return [
            Segment(row, 0, new, [Place(*rows[row], 0, start + new)])
            for row, start in enumerate(self._lengths)
        ]

    def advance(self, lengths: Any) -> None:
        """Count the tokens just appended: one number, or one per row."""
        each = lengths if hasattr(lengths, "__len__") else [lengths] * self.batch
        self._lengths = [past + int(n) for past, n in zip(self._lengths, each, strict=True)]

    def rewind(self, length: int) -> None:
        """Forget what comes after the first `length` tokens of every row."""
        if not 0 <= length <= min(self._lengths):
            raise InputError(
                f"cannot rewind to {length} tokens: the cache holds {min(self._lengths)}"
            )
        self._lengths = [length] * self.batch

    def follow(self, rows: Any) -> None:
        """From now on row i goes on from what was row rows[i]; there may be more rows or fewer."""
        places = self.backend.ids(rows)
        self.keys = [keys[places] for keys in self.keys]
        self.values = [values[places] for values in self.values]
        self._lengths = [self._lengths[row] for row in rows]
        self.batch = len(self._lengths)
        self._rows = self._by_row()

    def fork(self) -> Cache:
        """A copy that goes its own way."""
        twin = Cache(self.hparams, self.backend, self.batch, self.room)
        twin._lengths = list(self._lengths)
        for mine, its in ((self.keys, twin.keys), (self.values, twin.values)):
            for source, target in zip(mine, its, strict=True):
                target[:, :, : self.length] = source[:, :, : self.length]
        return twin

    def _by_row(self) -> list[list[tuple[Array, Array]]]:
        """Per layer and row its keys and values, [head, room, d_k] each."""
        return [
            [(keys[row], values[row]) for row in range(len(keys))]
            for keys, values in zip(self.keys, self.values, strict=True)
        ]

    @property
    def n_bytes(self) -> int:
        """Bytes that hold meaning now (not those reserved)."""
        per_token = sum(int(each[0, :, 0].nbytes) for each in (*self.keys, *self.values))
        return per_token * sum(self._lengths)
