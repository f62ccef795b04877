"""What is scored, and what comes of it: rows of ids, and the probability of each that is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["LOGITS", "NEAR", "Row", "Scored", "of_targets"]

LOGITS = 1 << 26  # logits of a batch held at a time, unless the caller chooses the batch
NEAR = 512  # positions of a batch: with more of them a CPU fetches each row from afar
_POSITIONS = 64  # of logits fetched at a time from where they were computed
_NUMBERS = 1 << 17  # whose exponentials are held at a time


class Row(NamedTuple):
    """ids: context and what is scored. n_scored: how many of the last ids are scored. n_cut: how
    many stood before them and did not fit into the window."""

    ids: list[int]
    n_scored: int
    n_cut: int = 0


class Scored(NamedTuple):
    """row: which one. logprobs, greedy [n_scored]: the natural logarithm of each id's
    probability, and whether it is the likeliest of all."""

    row: int
    logprobs: np.ndarray
    greedy: np.ndarray


def of_targets(
    gpt: GPT, logits: object, targets: np.ndarray, at: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """logits [position, n_vocab], targets [target] -> logprobs, greedy [target]

    at [target]: the position that each is a target of, in ascending order (None: one of each).
    """
    if at is None:
        at = np.arange(len(targets))
    logprobs = np.empty(len(targets))
    greedy = np.empty(len(targets), bool)
    n = 0 if not len(at) else int(at[-1]) + 1
    for first in range(0, n, _POSITIONS):
        fetched = gpt.model.backend.to_numpy(logits[first : first + _POSITIONS])  # type: ignore[index]
        few = max(1, _NUMBERS // fetched.shape[-1])
        for low in range(0, len(fetched), few):
            x = fetched[low : low + few]
            own = slice(*np.searchsorted(at, (first + low, first + low + len(x))))
            rows = at[own] - (first + low)
            likeliest = x.argmax(-1)
            highest = x[np.arange(len(x)), likeliest]
            shifted = x - highest[:, None]
            total = np.log(np.exp(shifted, out=shifted).sum(-1, dtype=np.float64))
            chosen = x[rows, targets[own]]
            logprobs[own] = (chosen - highest[rows]).astype(np.float64) - total[rows]
            greedy[own] = likeliest[rows] == targets[own]
    return logprobs, greedy
