"""The list of merges, hundreds of thousands of them: taken apart and looked up, by loops in C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import add, itemgetter
from typing import Any

__all__ = ["ById", "pairs_of", "sides"]

_NO_SEPARATOR = bytes(byte for byte in range(256) if byte not in b" \n")


def pairs_of(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Merges as files write them, "left right" or [left, right] -> pairs of texts.

    Raises ValueError for the first that is neither, with its rank for its argument.
    """
    kinds = set(map(type, merges))
    if kinds == {str}:
        text = "\n".join(merges)
        between = text.encode("utf-8", "surrogatepass").translate(None, _NO_SEPARATOR)
        parts = text.replace("\n", " ").split(" ")
        if between + b"\n" == b" \n" * len(merges) and all(parts):
            return list(zip(parts[::2], parts[1::2], strict=True))
    elif kinds == {list} and set(map(len, merges)) == {2}:
        parts = list(chain.from_iterable(merges))
        if set(map(type, parts)) == {str} and all(parts):
            return [(left, right) for left, right in merges]
    pairs = []
    for rank, merge in enumerate(merges):  # of both kinds, or one is wrong
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or list(map(type, pair)) != [str, str] or not all(pair):
            raise ValueError(rank)
        pairs.append((pair[0], pair[1]))
    return pairs


def sides(merges: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """What stands left in each, and what stands right. Raises ValueError where one is no pair."""
    if merges and set(map(len, merges)) != {2}:
        raise ValueError("a merge is two tokens")
    return list(map(itemgetter(0), merges)), list(map(itemgetter(1), merges))


@dataclass(frozen=True)
class ById:
    """Merges by the ids of the two that each joins and of what it makes, the first learned first.
    Ids are looked up faster than texts."""

    lefts: list[int]
    rights: list[int]
    products: list[int]
    n_vocab: int

    @classmethod
    def of(cls, ids: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> ById | None:
        """None where one is no pair of texts, or a text is no token."""
        id_of = ids.__getitem__
        try:
            lefts, rights = sides(merges)
            made = list(map(id_of, map(add, lefts, rights)))
            return cls(list(map(id_of, lefts)), list(map(id_of, rights)), made, len(ids))
        except (KeyError, TypeError, ValueError):
            return None

    @cached_property
    def ranks(self) -> dict[int, int]:
        """left · n_vocab + right -> how early the two were joined, 0 first."""
        keys = map(add, map(self.n_vocab.__mul__, self.lefts), self.rights)
        return dict(zip(keys, range(len(self.lefts)), strict=True))
