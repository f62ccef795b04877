"""Taps that change values, several taps as one, and many edited copies of a pass at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..backend import Array
from ..errors import InputError
from ..generate import Model
from ..model import block, layer_norm, unembed
from ..taps import Tap, tap_names, untouched, wants
from .trace import canonical_name

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Edits", "compose", "edited_copies", "resume"]

_TOKENS_AT_ONCE = 2048  # of all copies together: keeps the memory of a sweep small


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


class compose:
    """Several taps as one: each sees what the one before it returned."""

    def __init__(self, *taps: Tap) -> None:
        self.taps = taps

    def wants(self, name: str) -> bool:
        return any(wants(tap, name) for tap in self.taps)

    def __call__(self, name: str, value: Array) -> Array:
        for tap in self.taps:
            value = tap(name, value)
        return value


def resume(model: Model, x: Array, layer: int, tap: Tap | None = None) -> Array:
    """x [batch, position, n_embd] as it enters `layer` -> the last position's logits
    [batch, n_vocab]; layer = n_layer goes straight to the final norm.

    The pass from there on, for edits that leave the layers below as they were.
    """
    tap = tap or untouched
    backend, weights, hparams = model.backend, model.weights, model.hparams
    with backend.computing():
        past = backend.ids([0])
        for i in range(layer, hparams.n_layer):
            x = backend.apply(block, weights.h[i], x, i, hparams, backend, None, past, tap)
        x = layer_norm(x[:, -1:], weights.ln_f, backend, tap, "ln_final")
        return unembed(x, weights, backend, tap)[:, 0]


def edited_copies(
    model: Model,
    x: Array,
    layer: int,
    name: str,
    n: int,
    edit: Callable[[Array, Array, Array], None],
) -> np.ndarray:
    """n copies of one pass, in batches, each with another edit -> logits [n, n_vocab].

    x [1, position, n_embd]: as it enters `layer`. name: the value that is edited there or later.
    edit(value, rows, which): changes `value` [batch, …], a copy, in place: in row rows[j] it
    makes the edit number which[j].
    """
    backend = model.backend
    at_once = max(1, _TOKENS_AT_ONCE // x.shape[1])
    found = []
    for start in range(0, n, at_once):
        count = min(at_once, n - start)
        rows = backend.ids(list(range(count)))
        which = backend.ids(list(range(start, start + count)))

        def change(value: Array, rows: Array = rows, which: Array = which) -> Array:
            value = backend.copy(value)
            edit(value, rows, which)
            return value

        same = x[backend.ids([0] * count)]
        found.append(backend.to_numpy(resume(model, same, layer, Edits(model, {name: change}))))
    return np.concatenate(found)
