"""Byte-pair encoding, fast: what `bpe.py` says, by a heap for short texts, by tiktoken for long.

Tests hold both to the plain loop's tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

from .bpe import compiled
from .pairs import ById
from .splits import FAST, GPT2, Fast

__all__ = ["Bulk"]

_LONG_SPACE = r"(?<!\s)\s{1000,}+(?=\S)"  # such a run, a million long, would overflow its stack
_SHORT = 4096  # characters below which the heap answers before tiktoken has started


class Bulk:
    """Text -> ids. ids: of each token that is no special one. merges: of tokens, to tokens. split:
    how a text becomes words. ignore_merges: a word that is a token is one, whatever the merges say.
    A byte that is no token (in a vocabulary learned without it) is left out, as `tokenizers` does.

    `encode` chooses between `by_heap` and `by_tiktoken`; both give the plain loop's ids, and
    tests hold them to it.
    """

    def __init__(
        self,
        ids: Mapping[bytes, int],
        merges: ById,
        split: Fast = FAST[(GPT2,)],
        *,
        ignore_merges: bool = False,
    ) -> None:
        self._ids, self._merges, self._split = ids, merges, split
        self._ignore_merges = ignore_merges
        self.ranks = merges.ranks
        self._of_byte = [ids.get(bytes([b]), -1) for b in range(256)]
        self._lacking = bytes(b for b in range(256) if self._of_byte[b] < 0)
        self._reachable: dict[bytes, bool] = {}

    def encode(self, text: str) -> list[int]:
        return self.by_heap(text) if len(text) <= _SHORT else self.encode_all(text)

    def encode_all(self, text: str) -> list[int]:
        """As `encode`, by tiktoken however short the text is: for many texts, on many threads."""
        data = text.encode() if self._lacking else b""
        if self.known(data) != data or self.tiktoken is None:
            return self.by_heap(text)
        return self.by_tiktoken(text)

    def by_heap(self, text: str) -> list[int]:
        """Word by word, with `merge`: at most three looks at the ranks a byte."""
        words = compiled(self._split.pattern).findall(text)
        return [token for word in words for token in self.tokens(word.encode())]

    def by_tiktoken(self, text: str) -> list[int]:
        """By tiktoken, which must not be None; no half surrogate pairs in the text.

        Cut where a long run of space gives its last one to the next word, or gives it none.
        """
        ids: list[int] = []
        start = 0
        for run in compiled(_LONG_SPACE).finditer(text):
            end = run.end()
            if not compiled(self._split.whole_run).match(text, end):
                end -= 1
            ids += self.tiktoken.encode_ordinary(text[start:end])
            start = end
        ids += self.tiktoken.encode_ordinary(text[start:])
        return ids

    def tokens(self, word: bytes) -> list[int]:
        """The ids of a word, of what `merge_loop` leaves of it."""
        word = self.known(word)
        return [self._ids[word]] if self._is_whole(word) else self.merge(word)

    def known(self, word: bytes) -> bytes:
        """The word without the bytes that are no token."""
        return word.translate(None, self._lacking) if self._lacking else word

    def _is_whole(self, word: bytes) -> bool:
        """Whether the word is a token into which its bytes do merge: all of a trained
        vocabulary's do, but one from elsewhere may hold a token that an earlier merge breaks."""
        if word not in self._ids:
            return False
        if self._ignore_merges:
            return True
        known = self._reachable.get(word)
        if known is None:
            known = self._reachable[word] = self.merge(word) == [self._ids[word]]
        return known

    def merge(self, word: bytes) -> list[int]:
        """The merge loop with a heap of candidates over a linked list: n·log n."""
        ranks, products, n = self.ranks, self._merges.products, self._merges.n_vocab
        parts = [self._of_byte[byte] for byte in word]  # -1 in place of what was merged away
        after = list(range(1, len(parts) + 1))
        before = list(range(-1, len(parts) - 1))
        heap: list[tuple[int, int, int]] = []

        def consider(at: int) -> None:
            second = after[at]
            if second < len(parts):
                pair = parts[at] * n + parts[second]
                rank = ranks.get(pair)
                if rank is not None:
                    heapq.heappush(heap, (rank, at, pair))

        for at in range(len(parts) - 1):
            consider(at)
        while heap:
            rank, at, pair = heapq.heappop(heap)
            second = after[at]
            if second >= len(parts) or parts[at] < 0 or parts[at] * n + parts[second] != pair:
                continue  # one of the two has been merged since
            parts[at], parts[second] = products[rank], -1
            after[at] = after[second]
            if after[at] < len(parts):
                before[after[at]] = at
            if before[at] >= 0:
                consider(before[at])
            consider(at)
        return [part for part in parts if part >= 0]

    @cached_property
    def tiktoken(self) -> Any:
        """tiktoken with the same ranks, or None where its rule would give other ids."""
        if not merges_as_tiktoken(self._merges):
            return None
        import tiktoken

        return tiktoken.Encoding(
            "pellucid",
            pat_str=self._split.possessive,
            mergeable_ranks=dict(self._ids),
            special_tokens={},
        )


def merges_as_tiktoken(merges: ById) -> bool:
    """Whether merging any two neighbours that spell a token, lowest id first, is the same.

    tiktoken does that, and takes a word that is a token as it is. It comes to the same where
    the products' ids rise with the ranks and the bytes of each token do merge into it: no
    earlier merge across the border between its two halves takes them apart. All trained
    vocabularies are so; one from elsewhere need not be.
    """
    products, ranks, n = merges.products, merges.ranks, merges.n_vocab
    if any(a >= b for a, b in pairwise(products)):
        return False
    halves = dict(zip(products, zip(merges.lefts, merges.rights, strict=True), strict=True))
    rank_of = {product: rank for rank, product in enumerate(products)}
    for left, right in halves.values():
        # Undo both sides' merges, the latest first, and look at who meets at the border.
        while True:
            if rank_of.get(left, -1) > rank_of.get(right, -1):
                until = rank_of[left]
                left = halves[left][1]
            elif right in halves:
                until = rank_of[right] + 1  # at equal rank the one to the left comes first
                right = halves[right][0]
            else:
                break
            if ranks.get(left * n + right, until) < until:
                return False
    return True
