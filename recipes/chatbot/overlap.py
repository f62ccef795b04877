"""Which texts share a run of 13 words, or a whole sentence, with the tests that a model is measured
by (as GPT-3's authors looked for them, arXiv 2005.14165, appendix C)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pellucid.data.rows import rows
from pellucid.data.sources import read_text

__all__ = ["Overlap", "test_texts"]

RUN = 13  # words
SENTENCE = 6  # words of the shortest sentence that is looked for as a whole
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Overlap:
    """texts: those of the tests."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._numbers: dict[str, int] = {}  # of each word of a test
        runs, sentences = [np.empty(0, np.uint64)], set()
        for text in texts:
            for word in (words := _words(text)):
                self._numbers.setdefault(word, len(self._numbers) + 1)
            runs.append(self._runs(words))
            if SENTENCE <= len(words) < RUN:
                sentences.add(" ".join(words))
        self._known, self._sentences = np.unique(np.concatenate(runs)), sentences

    def __contains__(self, text: str) -> bool:
        if len(self._known) and len(runs := self._runs(_words(text))):
            at = np.minimum(np.searchsorted(self._known, runs), len(self._known) - 1)
            if (self._known[at] == runs).any():
                return True
        return bool(self._sentences) and any(
            " ".join(_words(part)) in self._sentences for part in re.split(r"[.!?]+|\n", text)
        )

    def _runs(self, words: list[str]) -> np.ndarray:
        """A number for each run of words; those that hold a word of no test are left out."""
        numbers = np.array([self._numbers.get(word, 0) for word in words], np.uint64)
        n = len(numbers) - RUN + 1
        if n < 1:
            return np.empty(0, np.uint64)
        total, known = np.zeros(n, np.uint64), np.ones(n, bool)
        for at in range(RUN):
            part = numbers[at : at + n]
            total = total * _FACTOR + part
            known &= part != 0
        return total[known]


def test_texts(folder: Path) -> Iterable[str]:
    """LAMBADA's passages, WikiText-2's articles and BLiMP's sentences, where they are."""
    if (path := folder / "lambada_test.jsonl.xz").is_file():
        yield from (str(row.fields["text"]) for row in rows(path))
    if (path := folder / "wikitext2_raw_test.txt.xz").is_file():
        yield from read_text(path).split("\n")
    if (path := folder / "blimp.jsonl.xz").is_file():
        for row in rows(path):
            yield from (str(row.fields[f"sentence_{kind}"]) for kind in ("good", "bad"))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
