"""Rotary positions: pairs of a query's or key's numbers are turned, the further into the text the
more, so that their product depends on how far apart two tokens stand (RoFormer, arXiv 2104.09864).

Pair i is the numbers i and i + d_k/2, as Hugging Face's weights have it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..backend import Array
from ..families.llama import Rope
from .one_pass import Pass

__all__ = ["frequencies", "rotate"]


def rotate(x: Array, run: Pass) -> Array:
    """x [batch, position, head, d_k], before any is left out -> the same shape, each position's
    pairs (a, b) turned to (a·cos - b·sin, b·cos + a·sin)."""
    h: Any = run.hparams
    new, half = x.shape[1], x.shape[3] // 2

    def turns() -> tuple[Array, Array, Array]:
        positions = run.backend.to_numpy(run.positions(new)).astype(np.float64)
        angles = positions[..., None, None] * frequencies(
            h.rope, h.d_k
        )  # [batch or 1, new, 1, pair]
        cos, sin = np.cos(angles) * h.rope.scale, np.sin(angles) * h.rope.scale
        return (
            run.backend.asarray(np.concatenate([cos, cos], -1)),
            run.backend.asarray(np.concatenate([-sin, sin], -1)),
            run.backend.ids([*range(half, 2 * half), *range(half)]),  # each number's other
        )

    cos, sin, other = run.once(("turns", new), turns)
    return x * cos + x[..., other] * sin


@lru_cache
def frequencies(rope: Rope, d_k: int) -> np.ndarray:
    """[d_k / 2]: by how much, in radians, each pair turns from one position to the next."""
    plain = rope.theta ** (-np.arange(0, d_k, 2) / d_k)
    if rope.kind == "default":
        return np.asarray(plain)
    if rope.kind == "linear":
        return np.asarray(plain / rope.factor)
    if rope.kind == "factors":
        return np.asarray(plain / np.array(rope.factors))
    if rope.kind == "llama3":
        # Pairs that turn seldom within the shorter window turn slower, those that turn often as
        # before, and between low and high it passes from one to the other.
        turns = rope.n_original * plain / (2 * math.pi)
        kept = np.clip((turns - rope.low) / (rope.high - rope.low), 0, 1)
        return np.asarray((1 - kept) * plain / rope.factor + kept * plain)

    def pair(turns: float) -> float:
        """Which pair turns so often within the shorter window."""
        return d_k * math.log(rope.n_original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    first, last = pair(rope.high), pair(rope.low)
    if rope.whole:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, d_k - 1)
    slower = np.clip((np.arange(d_k // 2) - first) / (last - first or 0.001), 0, 1)
    return np.asarray(slower * plain / rope.factor + (1 - slower) * plain)
