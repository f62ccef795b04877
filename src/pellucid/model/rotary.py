"""Rotary positions: pairs of a query's or key's numbers are turned, the further into the text the
more, so that their product depends on how far apart two tokens stand (RoFormer, arXiv 2104.09864).

Pair i is the numbers i and i + d_k/2, as Hugging Face's weights have it: (a, b) becomes
(a·cos - b·sin, b·cos + a·sin).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Turns
from .one_pass import Pass

__all__ = ["turns"]


def turns(new: int, run: Pass) -> Turns:
    """What the new tokens' queries and keys are turned by, cos and ±sin [batch or 1, new, d_k]; the
    same in every layer."""

    def made() -> Turns:
        h: Any = run.hparams
        positions = run.backend.to_numpy(run.positions(new)).astype(np.float64)
        angles = positions[..., None] * np.array(h.rope.frequencies(h.d_k))
        cos, sin = np.cos(angles) * h.rope.scale, np.sin(angles) * h.rope.scale
        asarray = run.backend.asarray
        return asarray(np.concatenate([cos, cos], -1)), asarray(np.concatenate([-sin, sin], -1))

    return run.once(("turns", new), made)  # type: ignore[no-any-return]
