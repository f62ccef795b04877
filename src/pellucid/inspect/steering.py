"""Steering: add a direction to the residual stream while the model generates or chats.

Source: Turner et al., "Activation Addition", arXiv 2308.10248.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .edits import Edits
from .finding import chosen, read
from .trace import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["direction", "steer"]


def direction(
    gpt: GPT, towards: str | Sequence[int], away: str | Sequence[int], layer: int
) -> np.ndarray:
    """[n_embd]: what sets one text apart from another in the residual stream as it enters
    `layer`, at their last positions."""
    (which,) = chosen(layer, gpt.hparams.n_layer, "layer")
    ends = []
    for text in (towards, away):
        recorder = Recorder(gpt, f"blocks.{which}.resid_pre", positions=-1)
        gpt.forward([read(gpt, text)[0]], tap=recorder, last_only=True)
        (value,) = recorder.passes[0].values()
        ends.append(gpt.model.backend.to_numpy(value)[0, 0])
    return np.asarray(ends[0] - ends[1])


def steer(gpt: GPT, vector: Any, layer: int, *, strength: float = 1.0) -> Edits:
    """A tap that adds strength · vector to every position of the residual stream as it enters
    `layer`; for `generate(…, tap=…)` and chat. Strength 0 changes nothing.

    vector [n_embd]. Raises InputError when it has another shape or is not finite.
    """
    (which,) = chosen(layer, gpt.hparams.n_layer, "layer")
    array = np.asarray(vector, np.float64)
    if array.shape != (gpt.hparams.n_embd,):
        raise InputError(
            f"the direction must have n_embd = {gpt.hparams.n_embd} numbers, "
            f"not the shape {list(array.shape)}"
        )
    if not (np.isfinite(array).all() and np.isfinite(strength)):
        raise InputError("the direction and its strength must be finite numbers")
    added = gpt.model.backend.asarray(strength * array)

    def add(x: Array) -> Array:
        return x + added if strength else x

    return Edits(gpt, {f"blocks.{which}.resid_pre": add})
