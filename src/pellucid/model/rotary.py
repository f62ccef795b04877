"""Rotary positions: pairs of a query's or key's numbers are turned, the further into the text the
more, so that their product depends on how far apart two tokens stand (RoFormer, arXiv 2104.09864).

Pair i is the numbers i and i + d_k/2, as Hugging Face's weights have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array
from .one_pass import Pass

__all__ = ["rotate"]


def rotate(x: Array, run: Pass) -> Array:
    """x [batch, position, head, d_k], before any is left out -> the same shape, each position's
    pairs (a, b) turned to (a·cos - b·sin, b·cos + a·sin)."""
    h: Any = run.hparams
    new, half = x.shape[1], x.shape[3] // 2

    def turns() -> tuple[Array, Array, Array]:
        positions = run.backend.to_numpy(run.positions(new)).astype(np.float64)
        # [batch or 1, position, 1, pair]
        angles = positions[..., None, None] * np.array(h.rope.frequencies(h.d_k))
        cos, sin = np.cos(angles) * h.rope.scale, np.sin(angles) * h.rope.scale
        return (
            run.backend.asarray(np.concatenate([cos, cos], -1)),
            run.backend.asarray(np.concatenate([-sin, sin], -1)),
            run.backend.ids([*range(half, 2 * half), *range(half)]),  # each number's other
        )

    cos, sin, other = run.once(("turns", new), turns)
    return x * cos + x[..., other] * sin
