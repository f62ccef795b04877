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

_KEPT = 4096  # of the positions below, turns are kept: each step asks for the next one's


def turns(new: int, run: Pass) -> Turns:
    """What the new tokens' queries and keys are turned by, cos and ±sin [batch or 1, new, d_k]; the
    same in every layer."""
    return run.once(_turns, new)  # type: ignore[no-any-return]


def _turns(run: Pass, new: int) -> Turns:
    h: Any = run.hparams
    positions = run.backend.to_numpy(run.positions(new))
    n = int(positions.max()) + 1
    if n <= _KEPT:
        cos, sin = (each[positions] for each in _table(h.rope, h.d_k, 1 << (n - 1).bit_length()))
    else:
        cos, sin = _cos_sin(positions, h.rope, h.d_k)
    return run.backend.asarray(cos), run.backend.asarray(sin)


@lru_cache(maxsize=32)
def _table(rope: Any, d_k: int, n: int) -> Turns:
    """Of the positions 0…n-1, [n, d_k] each, only to be read."""
    return _cos_sin(np.arange(n), rope, d_k)


def _cos_sin(positions: np.ndarray, rope: Any, d_k: int) -> Turns:
    """positions [...] -> cos and ±sin [..., d_k], float64"""
    angles = positions.astype(np.float64)[..., None] * _frequencies(rope, d_k)
    cos, sin = np.cos(angles) * rope.scale, np.sin(angles) * rope.scale
    return np.concatenate([cos, cos], -1), np.concatenate([-sin, sin], -1)


@lru_cache(maxsize=16)
def _frequencies(rope: Any, d_k: int) -> np.ndarray:
    """[d_k / 2], only to be read"""
    return np.array(rope.frequencies(d_k))
