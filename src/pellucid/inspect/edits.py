"""Taps that change values, and many edited copies of a pass at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..backend import Array
from ..errors import InputError
from ..model import Model
from ..taps import canonical_name, tap_names

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Counter", "Edits", "Progress", "edited_copies"]

TOKENS_AT_ONCE = 2048  # of all copies together: keeps the memory of a sweep small


# Told (how many edited passes are done, of how many). What it raises ends the work.
Progress = Callable[[int, int], object]


class Counter:
    """Counts towards a total, and says so."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._done, self._total = 0, total

    def add(self, n: int) -> None:
        self._done += n
        if self._progress is not None:
            self._progress(self._done, self._total)

    def part(self, done: int, total: int) -> None:
        """As a `Progress` of one part, whose counts begin at 0: the next part's begin anew."""
        if self._progress is not None:
            self._progress(self._done + done, self._total)
        if done == total:
            self._done += total


class Edits:
    """A tap that passes the named values through functions.

    functions: {"blocks.3.mlp_out": f, …} with f(value) -> value, each the backend's array with
    its batch axis; a function must not change what it is given in place. TransformerLens's
    names do as well. Raises InputError for a name that the model does not have.
    """

    def __init__(
        self, model: Model | GPT, functions: Mapping[str, Callable[[Array], Array]]
    ) -> None:
        self.functions = {canonical_name(name): f for name, f in functions.items()}
        known = tap_names(model.hparams)
        if unknown := [name for name in self.functions if name not in known]:
            raise InputError(f"there is no value {unknown[0]!r} in this model")

    def wants(self, name: str) -> bool:
        return name in self.functions

    def __call__(self, name: str, value: Array) -> Array:
        function = self.functions.get(name)
        return value if function is None else function(value)


def edited_copies(
    model: Model,
    x: Array,
    layer: int,
    name: str,
    n: int,
    edit: Callable[[Array, Array, Array], None],
    counter: Counter,
) -> np.ndarray:
    """n copies of one pass, in batches, each with another edit -> logits [n, n_vocab].

    x [1, position, n_embd]: as it enters `layer`. name: the value that is edited there or later.
    edit(value, rows, edits): changes `value` [batch, …], a copy, in place: in row rows[j] it
    makes the edit number edits[j]. counter: is told of each batch.
    """
    backend = model.backend
    at_once = max(1, TOKENS_AT_ONCE // x.shape[1])
    logits = []
    for start in range(0, n, at_once):
        count = min(at_once, n - start)
        rows = backend.ids(list(range(count)))
        edits = backend.ids(list(range(start, start + count)))

        def change(value: Array, rows: Array = rows, edits: Array = edits) -> Array:
            value = value * 1  # a copy
            edit(value, rows, edits)
            return value

        same = x[backend.ids([0] * count)]
        logits.append(backend.to_numpy(model.resume(same, layer, Edits(model, {name: change}))))
        counter.add(count)
    return np.concatenate(logits)
