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
from ..weights import as_numpy, prepared, unflatten
from . import transformer
from .ids import checked_ids, checked_lengths
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
        ids = checked_ids(source, self.hparams.n_vocab, "the source")
        counts = None if lengths is None else self.backend.ids(checked_lengths(lengths, ids))
        with self.backend.computing():
            run = Pass(self.hparams, self.backend, tap=tap or untouched)
            return transformer.encode(self.backend.ids(ids), self.weights, run, counts)

    def decode(
        self, target: Any, memory: Memory, cache: Cache | None = None, tap: Tap | None = None
    ) -> Array:
        """target [batch, position], which follows what the cache holds -> logits [batch, position,
        n_vocab]"""
        ids = checked_ids(target, self.hparams.n_vocab, "the target")
        with self.backend.computing():
            run = Pass(self.hparams, self.backend, cache, tap or untouched)
            return transformer.decode(self.backend.ids(ids), memory, self.weights, run)

    def new_cache(self, batch: int = 1) -> Cache:
        return Cache(self.hparams, self.backend, batch)

    def tensors(self) -> dict[str, np.ndarray]:
        """Every parameter by its name in `weights.shapes`, as numpy sees it."""
        return as_numpy(self.weights, self.hparams, self.backend)
