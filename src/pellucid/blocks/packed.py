"""The arrays behind the blocks, and a pass over new tokens of several texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array, Backend, Place, Segment
from ..errors import ContextError
from ..hparams import HParams

__all__ = ["BlockStore", "Packed"]


class BlockStore:
    """Keys and values of every layer: [head, block · block_size, d_k] each, as
    `Backend.to_cache` keeps them."""

    def __init__(
        self, hparams: HParams, backend: Backend, *, n_blocks: int, block_size: int
    ) -> None:
        self.hparams = hparams
        self.backend = backend
        self.block_size = block_size
        shape = (hparams.n_kv_head, n_blocks * block_size, hparams.d_k)
        self.keys = [backend.zeros(shape) for _ in range(hparams.n_layer)]
        self.values = [backend.zeros(shape) for _ in range(hparams.n_layer)]

    @staticmethod
    def bytes_per_block(hparams: HParams, backend: Backend, block_size: int) -> int:
        per_token = 2 * hparams.n_layer * hparams.n_kv_head
        return per_token * block_size * int(backend.zeros((hparams.d_k,)).nbytes)

    def places(self, blocks: Sequence[int], begin: int, end: int) -> list[slice]:
        """Where the tokens begin…end of a text lie that has these blocks: as few stretches as
        there are."""
        size = self.block_size
        runs: list[slice] = []
        for index in range(begin // size, -(-end // size)):
            low = blocks[index] * size + max(begin - index * size, 0)
            high = blocks[index] * size + min(end - index * size, size)
            if runs and runs[-1].stop == low:
                runs[-1] = slice(runs[-1].start, high)
            else:
                runs.append(slice(low, high))
        return runs


@dataclass(frozen=True, slots=True)
class _Text:
    begin: int  # in the pass
    past: int
    n: int
    all: list[slice]


class Packed:
    """One pass's view: new tokens of several texts, side by side in one row. A `KeyValues`.

    texts: for each, its blocks (with room for the new tokens), how many tokens they hold already,
    and how many are new. The explicit attention (`append`) takes one text at a time.
    """

    batch = 1

    def __init__(self, store: BlockStore, texts: Sequence[tuple[Sequence[int], int, int]]) -> None:
        self.store = store
        self._texts: list[_Text] = []
        begin = 0
        for blocks, past, n in texts:
            everything = store.places(blocks, 0, past + n)
            self._texts.append(_Text(begin=begin, past=past, n=n, all=everything))
            begin += n
        self.n_new = begin

    @property
    def past(self) -> np.ndarray:
        """Tokens before the new ones, of each text."""
        return np.asarray([text.past for text in self._texts], np.int64)

    def positions(self, new: int) -> np.ndarray:
        return np.concatenate([np.arange(t.past, t.past + t.n) for t in self._texts])[None]

    def check_room(self, tokens: int) -> None:
        longest = max(text.past + text.n for text in self._texts)
        if tokens != self.n_new or longest > self.store.hparams.n_ctx:
            raise ContextError(
                f"{tokens} tokens for a pass of {self.n_new}, the longest text {longest}; the "
                f"context window holds {self.store.hparams.n_ctx}"
            )

    def append(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """k, v [1, head, new, d_k] of one text -> all of it, gathered, [1, head, key, d_k]"""
        assert len(self._texts) == 1, "the explicit attention takes one text at a time"
        (segment,) = self.segments(layer, self.n_new)
        store, backend = self.store, self.store.backend
        segment.take_in(backend.to_cache(k), backend.to_cache(v))
        where = np.concatenate([np.arange(run.start, run.stop) for run in self._texts[0].all])
        k, v = (backend.from_cache(kept[layer][:, where]) for kept in (store.keys, store.values))
        return k[None], v[None]

    def segments(self, layer: int, new: int) -> list[Segment]:
        keys, values = self.store.keys[layer], self.store.values[layer]
        segments = []
        for text in self._texts:
            places = [Place(keys, values, run.start, run.stop) for run in text.all]
            segments.append(Segment(0, text.begin, text.n, places))
        return segments

    def advance(self, lengths: Any) -> None:
        """Nothing: who plans the passes counts."""
