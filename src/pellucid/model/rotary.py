"""Rotary positions: pairs of a query's or key's numbers are turned, the further into the text the
more, so that their product depends on how far apart two tokens stand (RoFormer, arXiv 2104.09864).

Pair i is the numbers i and i + d_k/2, as Hugging Face's weights have it: (a, b) becomes
(a·cos - b·sin, b·cos + a·sin).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..backend import Turns
from .one_pass import Pass

__all__ = ["turns"]


def turns(new: int, run: Pass) -> Turns:
    """What the new tokens' queries and keys are turned by, cos and ±sin [batch or 1, new, d_k]; the
    same in every layer."""
    return run.once(_turns, new)  # type: ignore[no-any-return]


def _turns(run: Pass, new: int) -> Turns:
    h: Any = run.hparams
    positions = run.backend.to_numpy(run.positions(new)).astype(np.float64)
    angles = positions[..., None] * _frequencies(h.rope, h.d_k)
    cos, sin = np.cos(angles) * h.rope.scale, np.sin(angles) * h.rope.scale
    asarray = run.backend.asarray
    return asarray(np.concatenate([cos, cos], -1)), asarray(np.concatenate([-sin, sin], -1))


@lru_cache(maxsize=16)
def _frequencies(rope: Any, d_k: int) -> np.ndarray:
    """[d_k / 2], only to be read"""
    return np.array(rope.frequencies(d_k))
