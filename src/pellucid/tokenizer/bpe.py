"""GPT-2's byte-level byte-pair encoding: the split, the alphabet and the merge loop.

    text ─ split into words ─ bytes ─ merge the pair with the lowest rank, again and again ─ tokens

Every text can be written, because every byte is a token: rare words become several tokens, and a
character may be split between two. This page is the reference; `bulk.py` does the same faster.
Sources: Sennrich et al. (arXiv 1508.07909), GPT-2 paper §2.2, openai/gpt-2 `src/encoder.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

__all__ = [
    "SPLIT",
    "Merge",
    "MergedWord",
    "byte_symbols",
    "is_spelled",
    "merge_loop",
    "merge_word",
    "spell",
    "split",
    "unspell",
    "unspell_all",
]

# Contractions, letters, digits, the rest, each with the one space before it; then spaces, of
# which the last goes to the word that follows.
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

Pair = tuple[bytes, bytes]
Ranks = Mapping[Pair, int]  # pair of neighbours -> how early it was learned, 0 first


class Merge(NamedTuple):
    """One merge: which pair, how early it was learned (0 is first), and the parts after it."""

    rank: int
    pair: Pair
    parts: tuple[bytes, ...]


class MergedWord(NamedTuple):
    """A word of the split text, its bytes, and the merges that made its tokens."""

    text: str
    start: tuple[bytes, ...]
    merges: tuple[Merge, ...]

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The bytes of its tokens."""
        return self.merges[-1].parts if self.merges else self.start


def split(text: str) -> Iterator[str]:
    """The words of a text, as GPT-2 splits it before any merge; merges never cross them."""
    return (match[0] for match in compiled(SPLIT).finditer(text))


def merge_loop(word: bytes, ranks: Ranks) -> Iterator[Merge]:
    """Byte-pair encoding: look for the pair with the lowest rank, merge it, again.

    Of pairs of equal rank the leftmost goes first. Takes time with the square of the length.
    """
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        ranked = [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not ranked:
            return
        rank, at = min(ranked)
        left, right = parts[at : at + 2]
        parts[at : at + 2] = [left + right]
        yield Merge(rank, (left, right), tuple(parts))


def merge_word(word: str, ranks: Ranks, value: bytes | None = None) -> MergedWord:
    """A word of the split text with every merge on the way to its tokens. value: those of its
    bytes that are tokens, where not all are."""
    value = word.encode() if value is None else value
    start = tuple(value[i : i + 1] for i in range(len(value)))
    return MergedWord(word, start, tuple(merge_loop(value, ranks)))


@cache
def byte_symbols() -> tuple[str, ...]:
    """The visible character by which GPT-2's files spell each byte, [256].

    Printable bytes stand for themselves, the others for U+0100 and on: a space is Ġ.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


def spell(value: bytes) -> str:
    """Bytes as GPT-2's files write them: `byte_symbols` are a character set of 8 bits."""
    return codecs.charmap_decode(value, "strict", "".join(byte_symbols()))[0]


def unspell(text: str) -> bytes:
    """Back to bytes. Raises UnicodeEncodeError for a character that is no symbol."""
    return codecs.charmap_encode(text, "strict", _encoding())[0]


def is_spelled(text: str) -> bool:
    """Whether it is written in byte symbols."""
    try:
        unspell(text)
    except UnicodeEncodeError:
        return False
    return True


def unspell_all(texts: Sequence[str]) -> list[bytes]:
    """Each text back to bytes, in one go."""
    whole = unspell("".join(texts))
    ends = accumulate(map(len, texts), initial=0)
    return [whole[start:end] for start, end in pairwise(ends)]


@cache
def _encoding() -> Any:
    return codecs.charmap_build("".join(byte_symbols()))


@cache
def compiled(pattern: str) -> Any:
    r"""A pattern in which \p{L} is a letter of any script, which Python's own `re` lacks."""
    import regex

    return regex.compile(pattern)
