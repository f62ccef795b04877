"""Weights with the hyperparameters and the backend that make them run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array, Backend, KeyValues, Prepared
from ..cache import Cache
from ..hparams import HParams
from ..taps import Tap, begins, untouched
from ..weights import as_numpy, prepared, unflatten
from .attend import attention_pattern
from .ids import checked_ids, checked_lengths
from .one_pass import Pass, plainly
from .pages import Page, page_of

__all__ = ["Model"]


@dataclass(frozen=True, slots=True)
class Model:
    """hparams: the shape. weights: the tree that the family's page reads, as the backend prepared
    it; only the methods here look into it. backend: what computes.
    """

    hparams: HParams
    weights: Any
    backend: Backend

    def __post_init__(self) -> None:
        page_of(self.hparams)  # raises for a family that is none of one stack

    @classmethod
    def of(cls, hparams: HParams, tensors: Mapping[str, Array], backend: Backend) -> Model:
        """From tensors by the names of `weights.shapes`, prepared for the backend.

        Raises CheckpointError for a missing, extra or wrongly shaped tensor.
        """
        return cls(hparams, prepared(unflatten(tensors, hparams), hparams, backend), backend)

    @property
    def page(self) -> Page:
        """The functions of its family's pass."""
        return page_of(self.hparams)

    def forward(
        self,
        tokens: Any,
        cache: KeyValues | None = None,
        tap: Tap | None = None,
        *,
        lengths: Any = None,
        last_only: bool = False,
        only: Any = None,
    ) -> Array:
        """tokens [position] or [batch, position] -> logits [(batch,) position, n_vocab]

        Logits are the backend's array. See `pellucid.model.forward` for the rest.
        Raises InputError for a token id outside 0…n_vocab-1, ContextError beyond n_ctx.
        """
        ids = np.asarray(tokens)
        batch = checked_ids(ids, self.hparams.n_vocab)
        if lengths is not None:
            checked_lengths(lengths, batch)
        backend = self.backend
        with backend.computing():
            run = Pass(
                self.hparams,
                backend,
                cache,
                tap or untouched,
                getattr(backend, "apply_block", plainly),
                lengths=lengths,
                last_only=last_only,
                only=only,
            )
            if run.tap is not untouched:
                begins(run.tap, run.positions(batch.shape[1]))
            logits = self.page.forward(backend.ids(batch), self.weights, run)
        return logits if ids.ndim == 2 else logits[0]

    def new_cache(self, batch: int = 1, room: int | None = None) -> Cache:
        """room: tokens of each text (None: the whole window)."""
        return Cache(self.hparams, self.backend, batch, room)

    # Parts of the pass, and the weights to look at: so that nobody else walks their tree

    def entering(self, tokens: Any) -> Array:
        """tokens [batch, position] -> x [batch, position, n_embd] as it enters the first layer."""
        ids, entered = checked_ids(np.asarray(tokens), self.hparams.n_vocab), []

        def stay(block: Any, x: Array, w: Any, layer: int, run: Pass) -> Array:
            entered.append(x)
            return x

        with self.backend.computing():
            run = Pass(self.hparams, self.backend, apply_block=stay, last_only=True)
            self.page.forward(self.backend.ids(ids), self.weights, run)
        return entered[0]

    def through(self, x: Array, layer: int, tap: Tap | None = None) -> Array:
        """x [batch, position, n_embd] as it enters `layer` -> as it leaves it; layer = n_layer is
        the final norm."""
        with self.backend.computing():
            run = Pass(self.hparams, self.backend, tap=tap or untouched)
            begins(run.tap, run.positions(x.shape[1]))
            if layer == self.hparams.n_layer:
                return self.page.norm(x, self.weights.ln_f, "ln_final", run)
            return self.page.block(x, self.weights.h[layer], layer, run)

    def resume(self, x: Array, layer: int, tap: Tap | None = None) -> Array:
        """x [batch, position, n_embd] as it enters `layer` -> the last position's logits
        [batch, n_vocab]; layer = n_layer goes straight to the final norm.

        The pass from there on, for edits that leave the layers below as they were.
        """
        with self.backend.computing():
            run = Pass(self.hparams, self.backend, tap=tap or untouched, last_only=True)
            begins(run.tap, run.positions(x.shape[1]))
            for i in range(layer, self.hparams.n_layer):
                x = self.page.block(x, self.weights.h[i], i, run)
            x = self.page.norm(x[:, -1:], self.weights.ln_f, "ln_final", run)
            return self.page.unembed(x, self.weights, run)[:, 0]

    def readout(self, x: Array) -> Array:
        """x [..., n_embd], the residual stream -> logits [..., n_vocab] if the model ended here:
        the final norm and the output layer."""
        with self.backend.computing():
            run = Pass(self.hparams, self.backend)
            x = self.page.norm(x, self.weights.ln_f, "ln_final", run)
            return self.page.unembed(x, self.weights, run)

    def pattern(self, q: Array, k: Array, layer: int) -> Array:
        """q, k [batch, position, head, d_k], all of a text's, of a layer and any of its heads
        -> [batch, head, query, key]: the explicit path's, where a pass has not written it down."""
        with self.backend.computing():
            run = Pass(self.hparams, self.backend)
            return attention_pattern(q.swapaxes(1, 2), k.swapaxes(1, 2), layer, run)

    def w_query(self, layer: int) -> tuple[Array, Array]:
        """W_Query of a layer's heads, [n_embd, head, d_k], and its bias, [head, d_k]."""
        h, affine = self.hparams, self.weights.h[layer].attn.c_attn
        n = h.n_head * h.d_k
        weight = self.backend.dense(affine)[:, :n].reshape(-1, h.n_head, h.d_k)
        bias = self._zeros(n) if affine.bias is None else affine.bias[:n]
        return weight, bias.reshape(h.n_head, h.d_k)

    def w_output(self, layer: int) -> Array:
        """W_Output of a layer's heads, [head, d_k, n_embd]."""
        h = self.hparams
        dense = self.backend.dense(self.weights.h[layer].attn.c_proj)
        return dense.reshape(h.n_head, h.d_k, h.n_embd)

    def b_output(self, layer: int) -> Array:
        """What a layer's attention adds whatever its heads do, [n_embd]."""
        bias = self.weights.h[layer].attn.c_proj.bias
        return self._zeros(self.hparams.n_embd) if bias is None else bias

    def unembedding(self, tokens: int | Iterable[int] | None = None) -> Array:
        """The output layer's rows: [n_vocab, n_embd], or those of some tokens [token, n_embd], of
        one [n_embd]. Where they are the token embeddings too, `embedding` returns the same."""
        tied = self.hparams.tied
        return self._rows(self.weights.wte if tied else self.weights.lm_head, tokens)

    def embedding(self, tokens: int | Iterable[int] | None = None) -> Array:
        """The dictionary's rows, the token embeddings: as `unembedding` returns the output's."""
        return self._rows(self.weights.wte, tokens)

    def _zeros(self, n: int) -> Array:
        return self.backend.asarray(np.zeros(n))

    def _rows(self, w: Prepared, tokens: int | Iterable[int] | None) -> Array:
        table = self.backend.dense(w)
        if tokens is None:
            return table
        return table[tokens if isinstance(tokens, int) else self.backend.ids(list(tokens))]

    def final_norm(self) -> tuple[Array, Array]:
        """(gain, bias) of the last norm, [n_embd] each."""
        gain, bias = self.weights.ln_f.weight, self.weights.ln_f.bias
        return gain, self._zeros(self.hparams.n_embd) if bias is None else bias

    def tensors(self, under: str = "") -> dict[str, np.ndarray]:
        """Every parameter by its name in `weights.shapes`, as numpy sees it; under: of those whose
        names begin so ("h.3.") alone."""
        return as_numpy(self.weights, self.hparams, self.backend, under)
