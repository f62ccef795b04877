"""The first reading: which documents are held out, and a sample for the vocabulary."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import InputError
from ..tokenizer import END_OF_TEXT
from .documents import Document
from .sources import Sources

__all__ = ["Sample", "Split", "survey"]

SAMPLE = 32 << 20  # bytes of text that a vocabulary is learned from, at most
_LEAST_TAIL = 8192  # characters held out of a lone text: some rows for validation


class Sample:
    """Of all pieces of text those of the lowest hashes, up to SAMPLE bytes: spread over the
    sources, and the same in whatever order they come."""

    def __init__(self, seed: int) -> None:
        self.n_bytes = 0
        self._key = f"sample {seed}"
        self._heap: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        heapq.heappush(self._heap, (-_hash(text, self._key), text))
        self.n_bytes += len(text.encode())
        while self.n_bytes > SAMPLE and len(self._heap) > 1:
            self.n_bytes -= len(heapq.heappop(self._heap)[1].encode())

    def texts(self) -> Iterator[str]:
        while self._heap:
            yield heapq.heappop(self._heap)[1]


def _hash(text: str, key: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=key.encode()[:64])
    return int.from_bytes(digest.digest(), "big")


@dataclass(kw_only=True)
class Split:
    """Which documents are held out: by their hash, in a small corpus those named by it; of a
    lone text what follows the first `end` characters; of equal documents a copy."""

    below: int
    seed: int
    held_out: int | None = None  # this hash alone
    end: int | None = None
    copied: bool = False
    conversations: int = 0
    notes: list[str] = field(default_factory=list)

    def hash(self, document: Document) -> int:
        """Of its beginning, a piece; space around it does not count."""
        return _hash(document.begin.strip(), f"split {self.seed}")

    def holds_out(self, content: int) -> bool:
        return content < self.below if self.held_out is None else content == self.held_out


def survey(sources: Sources, validation: float, seed: int, sample: Sample | None) -> Split:
    """Read everything once -> how to split it. Fills the sample, of what is learned from.

    Raises InputError when there is no document.
    """
    split = Split(below=int(validation * 2**64), seed=seed)
    sizes: dict[int, int] | None = {}  # hash -> characters, as long as one side is empty
    count, total, marked = 0, 0, 0
    sides = set[bool]()
    for document in sources.documents():
        content = split.hash(document)
        held_out = split.holds_out(content)
        count += 1
        split.conversations += document.turns is not None
        size = 0
        for text in document.pieces():
            size += len(text)
            marked += END_OF_TEXT in text
            if sample is not None and not held_out:
                sample.add(text)
        total += size
        if sizes is not None:
            sides.add(held_out)
            sizes[content] = sizes.get(content, 0) + size
            if len(sides) == 2:
                sizes = None
    if not count:
        bad = f": {sources.n_bad} are bad, first {sources.first_bad[0]}" if sources.n_bad else ""
        raise InputError(f"there is no document with text in {len(sources.files)} files{bad}")
    if marked:
        split.notes.append(
            f"{END_OF_TEXT} stands in the texts {marked} times or more, as ordinary letters; if "
            f"it ends documents there, split them: --split-at '{END_OF_TEXT}'"
        )
    if sizes is None or not validation:
        return split
    if sample is not None and sides == {True}:  # all would have been held out
        for document in sources.documents():
            for text in document.pieces():
                sample.add(text)
    if len(sizes) > 1:
        share = validation * total
        split.held_out = min(sizes, key=lambda content: (abs(sizes[content] - share), content))
        split.notes.append(
            "no document fell to one of the two splits by its hash; the one whose size is "
            "nearest to the share asked for is the validation"
        )
        return split
    split.below = 0
    if count == 1 and not split.conversations:
        tail = max(int(validation * total), min(total // 10, _LEAST_TAIL))
        split.end = _place_to_cut(sources, total - tail)
    if split.end is not None:
        split.notes.append("the corpus is one document: its end is the validation")
    else:
        split.copied = True
        split.notes.append(
            "all documents are the same: the validation is a copy, and measures memory alone"
        )
    return split


def _place_to_cut(sources: Sources, least: int) -> int | None:
    """Where in the only document, from `least` characters on, a space or line end follows a
    word and text follows that; None when there is no such place."""
    at = 0
    for text in (text for document in sources.documents() for text in document.pieces()):
        for place in range(max(1, least - at), len(text)):
            if text[place] in " \n" and not text[place - 1].isspace() and text[place:].strip():
                return at + place
        at += len(text)
    return None
