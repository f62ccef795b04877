"""An encoder-decoder's weights, with the hyperparameters and the backend that make them run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array, Backend
from ..cache import Cache
from ..errors import InputError
from ..families import family_of
from ..hparams import HParams
from ..taps import Tap, untouched
from ..weights import flatten, prepared, unflatten
from . import transformer
from .one_pass import Pass
from .transformer import Memory

__all__ = ["EncoderDecoder"]


@dataclass(frozen=True, slots=True)
class EncoderDecoder:
    """hparams: the shape. weights: the tree that `transformer` reads, as the backend prepared it.
    backend: what computes. Tokens are ids [batch, position], or one text's [position]; what comes
    back always has the batch axis."""

    hparams: HParams
    weights: Any
    backend: Backend

    @classmethod
    def of(cls, hparams: HParams, tensors: Mapping[str, Array], backend: Backend) -> EncoderDecoder:
        """From tensors by the names of `weights.shapes`, prepared for the backend.

        Raises CheckpointError for a missing, extra or wrongly shaped tensor, InputError for a
        family that has no encoder.
        """
        family = family_of(hparams)
        if not family.encodes:
            raise InputError(f"{family.title} has no encoder: it goes on from a text")
        weights = prepared(unflatten(tensors, hparams), hparams, backend)
        table = transformer.sinusoids(hparams.n_ctx, hparams.n_embd)
        weights.sinusoids = backend.asarray(table)  # computed, not learned
        return cls(hparams, weights, backend)

    def forward(
        self, source: Any, target: Any, tap: Tap | None = None, *, lengths: Any = None
    ) -> Array:
        """source [batch, source], target [batch, position] -> logits [batch, position, n_vocab].

        lengths [batch]: of the sources where they differ; what lies behind is padding.
        Raises InputError for ids that are none, ContextError beyond n_ctx.
        """
        return self.decode(target, self.encode(source, tap, lengths=lengths), tap=tap)

    def encode(self, source: Any, tap: Tap | None = None, *, lengths: Any = None) -> Memory:
        """source [batch, source] -> what the decoder sees of it."""
        ids = self._ids(source, "source")
        counts = None if lengths is None else self._lengths(lengths, ids)
        with self.backend.computing():
            run = Pass(self.hparams, self.backend, tap=tap or untouched)
            return transformer.encode(self.backend.ids(ids), self.weights, run, counts)

    def decode(
        self, target: Any, memory: Memory, cache: Cache | None = None, tap: Tap | None = None
    ) -> Array:
        """target [batch, position], which follows what the cache holds -> logits [batch, position,
        n_vocab]"""
        ids = self._ids(target, "target")
        with self.backend.computing():
            run = Pass(self.hparams, self.backend, cache, tap or untouched)
            return transformer.decode(self.backend.ids(ids), memory, self.weights, run)

    def new_cache(self, batch: int = 1) -> Cache:
        return Cache(self.hparams, self.backend, batch)

    def tensors(self) -> dict[str, np.ndarray]:
        """Every parameter by its name in `weights.shapes`, as numpy sees it."""
        return {
            name: self.backend.to_numpy(value)
            for name, value in flatten(self.weights, self.hparams, self.backend.dense).items()
        }

    def _ids(self, tokens: Any, what: str) -> np.ndarray:
        ids = np.asarray(tokens)
        if ids.size == 0 or ids.ndim not in (1, 2) or not np.issubdtype(ids.dtype, np.integer):
            raise InputError(f"the {what} must be whole numbers, [position] or [batch, position]")
        n_vocab = self.hparams.n_vocab
        if ids.min() < 0 or ids.max() >= n_vocab:
            wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
            raise InputError(f"token {wrong} is not in the vocabulary 0…{n_vocab - 1}")
        return ids if ids.ndim == 2 else ids[None]

    def _lengths(self, lengths: Any, ids: np.ndarray) -> Array:
        counts = np.asarray(lengths)
        if counts.shape != ids.shape[:1] or not (1 <= counts.min() <= counts.max() <= ids.shape[1]):
            raise InputError(f"lengths must be one number from 1 to {ids.shape[1]} per row")
        return self.backend.ids(counts)
