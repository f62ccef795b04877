"""The keys and values already computed, so that each new token costs one row of work."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, Backend, Segment
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
        self.lengths = np.zeros(batch, np.int64)

    @property
    def length(self) -> int:
        """Tokens held by the longest row."""
        return int(self.lengths.max())

    @property
    def past(self) -> np.ndarray:
        """Tokens before the next one: [1] where all rows agree, else [batch]."""
        first = self.lengths[:1]
        if self.batch == 1 or bool((self.lengths == first).all()):
            return first
        return self.lengths

    def positions(self, new: int) -> np.ndarray:
        """Where in their texts the next tokens stand: [batch or 1, new]."""
        return np.asarray(self.past[:, None] + np.arange(new))

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
        past = self.past
        if len(past) == 1:
            start = int(past[0])
            seen = start + new
            keys[:, :, start:seen] = k
            values[:, :, start:seen] = v
        else:
            for each in self.segments(layer, new):
                each.take_in(k, v)
            seen = self.length + new
        return backend.from_cache(keys[:, :, :seen]), backend.from_cache(values[:, :, :seen])

    def segments(self, layer: int, new: int) -> list[Segment]:
        """Per row where its keys and values lie, with room for new ones at their end."""
        keys, values = self.keys[layer], self.values[layer]
        return [
            Segment(row, 0, new, [(keys[row, :, : start + new], values[row, :, : start + new])])
            for row, start in enumerate(self.lengths.tolist())
        ]

    def advance(self, lengths: Any) -> None:
        """Count the tokens just appended: one number, or one per row."""
        self.lengths = self.lengths + np.asarray(lengths, np.int64)

    def rewind(self, length: int) -> None:
        """Forget what comes after the first `length` tokens of every row."""
        if not 0 <= length <= int(self.lengths.min()):
            raise InputError(
                f"cannot rewind to {length} tokens: the cache holds {int(self.lengths.min())}"
            )
        self.lengths = np.full(self.batch, length, np.int64)

    def follow(self, rows: Any) -> None:
        """From now on row i goes on from what was row rows[i]; there may be more rows or fewer."""
        places = self.backend.ids(rows)
        self.keys = [keys[places] for keys in self.keys]
        self.values = [values[places] for values in self.values]
        self.lengths = self.lengths[np.asarray(rows)]
        self.batch = len(self.lengths)

    def fork(self) -> Cache:
        """A copy that goes its own way."""
        twin = Cache(self.hparams, self.backend, self.batch, self.room)
        twin.lengths = self.lengths.copy()
        for mine, its in ((self.keys, twin.keys), (self.values, twin.values)):
            for source, target in zip(mine, its, strict=True):
                target[:, :, : self.length] = source[:, :, : self.length]
        return twin

    @property
    def n_bytes(self) -> int:
        """Bytes that hold meaning now (not those reserved)."""
        per_token = sum(int(each[0, :, 0].nbytes) for each in (*self.keys, *self.values))
        return per_token * int(self.lengths.sum())
