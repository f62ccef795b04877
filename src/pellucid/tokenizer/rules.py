"""What a tokenizer does beyond the merges: tokens found in a text as they stand, how the rest is
cut into words, and the ids that stand before and after a whole text.

GPT-2's own rules are `Rules()`. The others are computed as the library `tokenizers` does, to which
tests hold them; what is not listed here is refused where the files are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from unicodedata import normalize

from ..errors import TokenizerError
from .bpe import compiled
from .splits import DIGIT, DIGITS, GPT2, LLAMA3, PATTERNS, QWEN2, SPACE, isolate

__all__ = [
    "DIGIT",
    "DIGITS",
    "GPT2",
    "LLAMA3",
    "QWEN2",
    "SPACE",
    "Added",
    "Rules",
    "cut",
    "extract",
    "in_one_pass",
    "padding",
    "whole_characters",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A token that is found in a text as it stands, before the text is cut.

    special: only where the caller allows it. lstrip, rstrip: the white space beside it goes with
    it. single_word: not inside a word. normalized: looked for after those that are not.
    """

    id: int
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """begin, end: ids that a whole text begins and ends with. steps: how a text becomes words, one
    after the other (`splits`). added: text → token, beside the special tokens that need no more
    than a name. ignore_merges: a word that is a token stands as it is, whether its bytes merge into
    it or not. nfc: a text is put into Unicode's form NFC first, so that é is one character however
    it was typed.
    Raises TokenizerError for a step that is unknown, or that no file can hold at its place.
    """

    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    steps: tuple[str, ...] = (GPT2,)
    added: Mapping[str, Added] = field(default_factory=dict)
    ignore_merges: bool = False
    nfc: bool = False

    def __post_init__(self) -> None:
        known = (SPACE, *PATTERNS)
        if unknown := [step for step in self.steps if step not in known]:
            raise TokenizerError(f"no such step: {unknown[0]!r}; there are {', '.join(known)}")
        before = self.steps[:-1] if self.steps[-1:] == (GPT2,) else self.steps
        if SPACE in before[:-1]:
            raise TokenizerError(
                f"the step {SPACE!r} comes last, or before a last {GPT2!r}: no tokenizer.json can "
                "say otherwise"
            )

    @property
    def plain(self) -> bool:
        """Whether vocab.json, merges.txt and a list of special tokens say it all."""
        return self == Rules()


def padding(token: int) -> str:
    """The name of an id that stands for no token between others, as llama.cpp writes it."""
    return f"[PAD{token}]"


def in_one_pass(added: Mapping[str, Added], nfc: bool) -> dict[str, Added]:
    """The same with `normalized` off where it says nothing: of texts that are not normalized it is
    only the order in which tokens are looked for, which matters where two overlap."""
    if nfc:
        return dict(added)
    late = [text for text, token in added.items() if token.normalized]
    early = [text for text, token in added.items() if not token.normalized]
    strips = any(token.lstrip or token.rstrip for token in added.values())
    if early and late and (strips or any(_overlap(a, b) for a in early for b in late)):
        return dict(added)
    return {text: replace(token, normalized=False) for text, token in added.items()}


def _overlap(a: str, b: str) -> bool:
    if a in b or b in a:
        return True
    ends = range(1, min(len(a), len(b)))
    return any(a[-n:] == b[:n] or b[-n:] == a[:n] for n in ends)


def whole_characters(text: str) -> str:
    """Surrogate pairs to the character they mean, single halves to U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def cut(text: str, steps: tuple[str, ...]) -> Iterator[str]:
    """The words of a text, each step applied to what the one before left."""
    if not steps:
        if text:
            yield text
        return
    for piece in cut(text, steps[:-1]):
        yield from _apply(steps[-1], piece)


def _apply(step: str, text: str) -> Iterator[str]:
    if step == SPACE:
        yield text if text.startswith(" ") else " " + text
    else:
        yield from isolate(step, text)


def extract(
    text: str, added: Mapping[str, Added], allowed: Collection[str], *, nfc: bool = False
) -> Iterator[str | int]:
    """The parts of a text: ids of the added tokens in it, and the texts between them.

    allowed: the special tokens that may be found; another stays text, all of it. Those that are
    not `normalized` are looked for first, then, where texts are, nfc puts what is left into that
    form; at the same place the longest is taken.
    """
    parts: list[str | int] = [text]
    for late in (False, True):
        if late and nfc:
            parts = [normalize("NFC", part) if isinstance(part, str) else part for part in parts]
        table = {
            normalize("NFC", t) if late and nfc else t: a if not a.special or t in allowed else None
            for t, a in added.items()
            if a.normalized is late
        }
        if table:
            parts = [
                found
                for part in parts
                for found in (_find(part, table) if isinstance(part, str) else (part,))
            ]
    return (part for part in parts if part != "")


def _find(text: str, table: Mapping[str, Added | None]) -> Iterator[str | int]:
    longest_first = sorted(table, key=len, reverse=True)
    done = 0
    for match in re.finditer("|".join(map(re.escape, longest_first)), text):
        start, end, token = match.start(), match.end(), table[match[0]]
        if token is None:
            continue
        if token.single_word and (_is_word(text, start - 1) or _is_word(text, end)):
            continue
        if token.lstrip:
            while start > done and _white_space().match(text, start - 1):
                start -= 1
            start = max(start, done)
        if token.rstrip:
            while _white_space().match(text, end):
                end += 1
        if done < start:
            yield text[done:start]
        if start < end:  # else another's rstrip took all of it
            yield token.id
        done = end
    yield text[done:]


def _is_word(text: str, at: int) -> bool:
    return at >= 0 and compiled(r"\w").match(text, at) is not None


def _white_space() -> Any:
    return compiled(r"\p{White_Space}")
