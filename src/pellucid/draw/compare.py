"""Two texts, token by token beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

import numpy as np

from .pictures import Picture

__all__ = ["Compare", "Row", "aligned"]

_T = TypeVar("_T")
# The places of two tokens that stand side by side; None where one has nothing to set against.
Row = tuple[int | None, int | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compare(Picture):
    """What two texts say after the same beginning. names: what each is called. before, after:
    their tokens; shares_before, shares_after [token]: how likely each was. first: the position of
    the first token. ends: why each ended, in a few words."""

    names: tuple[str, str]
    before: tuple[str, ...]
    after: tuple[str, ...]
    shares_before: np.ndarray
    shares_after: np.ndarray
    first: int = 0
    ends: tuple[str, str] = ("", "")
    caption: str = ""

    def __post_init__(self) -> None:
        for tokens, shares in (
            (self.before, self.shares_before),
            (self.after, self.shares_after),
        ):
            n = len(tokens)
            self._check(np.shape(shares) == (n,), f"{n} tokens, but shares {np.shape(shares)}")


def aligned(before: Sequence[_T], after: Sequence[_T]) -> list[Row]:
    """The rows of two columns: the longest common subsequence stands side by side, and what lies
    between two of its tokens as far as it goes. web/picture/compare.js does the same.
    """
    # The same beginning and end are most of it, and need no table.
    n = _common(before, after)
    end = _common(before[n:][::-1], after[n:][::-1])
    left, right = before[n : len(before) - end], after[n : len(after) - end]
    # longest [i, j]: of what is left from i and from j on
    longest = np.zeros((len(left) + 1, len(right) + 1), np.int32)
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            longest[i, j] = (
                longest[i + 1, j + 1] + 1
                if left[i] == right[j]
                else max(longest[i + 1, j], longest[i, j + 1])
            )
    rows: list[Row] = [(i, i) for i in range(n)]
    i = j = 0
    while i < len(left) or j < len(right):
        start_i, start_j = i, j
        while i < len(left) and j < len(right) and left[i] != right[j]:
            if longest[i + 1, j] >= longest[i, j + 1]:
                i += 1
            else:
                j += 1
        if i == len(left) or j == len(right):
            i, j = len(left), len(right)
        alone = zip_longest(range(n + start_i, n + i), range(n + start_j, n + j))
        rows += alone
        if i < len(left) and j < len(right):
            rows.append((n + i, n + j))
            i, j = i + 1, j + 1
    places = range(end, 0, -1)
    return rows + [(len(before) - k, len(after) - k) for k in places]


def _common(before: Sequence[_T], after: Sequence[_T]) -> int:
    """How many tokens both begin with."""
    pairs = zip(before, after, strict=False)
    return next(
        (i for i, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after))
    )
