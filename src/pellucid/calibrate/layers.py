"""A model's linear maps rounded to 4 bits with texts in view.

Each layer's inputs are those of the model as it is. GPTQ's paper takes those that the rounded
layers below make; that costs a second pass over each layer, and gained nothing that could be
measured (LOG.md, 2026-11-27).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Ids
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..evaluate.scoring import opening
from ..families import family_of
from .matrix import GROUP, gptq

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT
    from ..hparams import HParams

__all__ = ["LEAST_TOKENS", "MOST_TOKENS", "calibrated"]

LEAST_TOKENS, MOST_TOKENS = 2_048, 16_384
_TOKENS = 2_048  # that go through a layer together
_WINDOW = 1_024  # tokens of a text at the most
_CHARACTERS = 32  # a token, more than texts have: what comes later in a long one is not read
_LAST = "ln_final.out"  # what the output layer is multiplied with


class _Products:
    """A tap: of each named value the sum of xᵀx over all tokens, float64."""

    def __init__(self, names: Iterable[str]) -> None:
        self.sums: dict[str, np.ndarray | float] = dict.fromkeys(names, 0.0)

    def wants(self, name: str) -> bool:
        return name in self.sums

    def __call__(self, name: str, value: Array) -> Array:
        if name in self.sums:
            x = np.asarray(value).reshape(value.shape[0] * value.shape[1], -1)
            self.sums[name] = self.sums[name] + (x.T @ x).astype(np.float64)
        return value

    def of(self, name: str) -> np.ndarray:
        return np.asarray(self.sums[name])


def _check(hparams: HParams) -> None:
    """Raises InputError for a model that cannot be rounded so."""
    family = family_of(hparams)
    if "gguf" not in family.formats:
        raise InputError(f"{family.title} is not written as GGUF, which calibrated weights are for")
    branches = family.branches(hparams)
    for path, branch in branches.items():
        n_in = branch.shape[0] if branch.kind == "linear" else branch.shape[-1]
        if branch.kind in ("linear", "table") and n_in % GROUP:
            raise InputError(
                f"q4_0 stores {GROUP} numbers to a block, and the {n_in} inputs of {path} are no "
                "whole number of blocks: take float16"
            )


def calibrated(
    gpt: GPT,
    documents: Iterable[str | Ids[int]],
    *,
    table: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """The parameters of `gpt`, whose backend computes in float32 by numpy's arrays, with its linear
    maps rounded by `gptq`: each group of 32 inputs on a grid of 16 steps, as a GGUF in Q4_0 holds
    them and the compiled backend multiplies them in int4.

    documents: texts, or ids, of which the first MOST_TOKENS tokens are read. table: the output
    layer too, and with it the embeddings where they are the same table. on_progress: told (done, of
    how many). Raises InputError where there are fewer than LEAST_TOKENS tokens, and for a model
    that cannot be rounded so.
    """
    h, inputs = gpt.hparams, family_of(gpt.hparams).inputs
    _check(h)
    model, tensors = gpt.model, gpt.model.tensors()
    tell = on_progress or (lambda done, of: None)
    n_steps = h.n_layer + table
    x = [model.entering(ids) for ids in _batches(_windows(gpt, documents))]
    for layer in range(h.n_layer):
        seen = _Products(f"blocks.{layer}.{value}" for value in inputs.values())
        x = [model.through(each, layer, seen) for each in x]
        for path, value in inputs.items():
            name = f"h.{layer}.{path}.weight"
            tensors[name] = gptq(tensors[name], seen.of(f"blocks.{layer}.{value}"))
        tell(layer + 1, n_steps)
    if table:
        seen, name = _Products([_LAST]), f"{'wte' if h.tied else 'lm_head'}.weight"
        for each in x:
            model.through(each, h.n_layer, seen)
        tensors[name] = gptq(tensors[name].T, seen.of(_LAST)).T
        tell(n_steps, n_steps)
    return tensors


def _batches(windows: np.ndarray) -> list[np.ndarray]:
    """[window, position] -> some windows at a time"""
    n = max(1, _TOKENS // windows.shape[1])
    return [windows[begin : begin + n] for begin in range(0, len(windows), n)]


def _windows(gpt: GPT, documents: Iterable[str | Ids[int]]) -> np.ndarray:
    """The documents one after another, each with what a text begins with -> [window, position]"""
    length = min(gpt.hparams.n_ctx, _WINDOW)
    begin = opening(gpt)
    ids: list[int] = []
    for document in documents:
        some = document[: _CHARACTERS * MOST_TOKENS]
        own = gpt.tokenizer.encode(some) if isinstance(some, str) else list(some)
        ids += own if begin and own[: len(begin)] == begin else [*begin, *own]
        if len(ids) >= MOST_TOKENS:
            break
    if len(ids) < LEAST_TOKENS:
        raise InputError(
            f"the texts to calibrate with have {len(ids):,} tokens, and at least {LEAST_TOKENS:,} "
            "are needed: they show which inputs of a layer go together, and fewer show chance; "
            "give more text"
        )
    n = min(len(ids), MOST_TOKENS) // length
    return np.array(ids[: n * length]).reshape(n, length)
