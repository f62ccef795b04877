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

from ..errors import TokenizerError
from .bpe import compiled, split

__all__ = [
    "DIGIT",
    "DIGITS",
    "GPT2",
    "SPACE",
    "Added",
    "Rules",
    "cut",
    "extract",
    "in_one_pass",
    "padding",
]

GPT2 = "gpt2"  # GPT-2's pattern (`bpe.SPLIT`)
DIGIT = "digit"  # every numeral a word of its own
DIGITS = "digits"  # every run of numerals a word of its own
SPACE = "space"  # a space before each word that does not begin with one

_NUMERALS = {DIGIT: r"(\p{N})", DIGITS: r"(\p{N}+)"}


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
    after the other. added: text → token, beside the special tokens that need no more than a name.
    Raises TokenizerError for a step that is unknown, or that no file can hold at its place.
    """

    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    steps: tuple[str, ...] = (GPT2,)
    added: Mapping[str, Added] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = (GPT2, SPACE, *_NUMERALS)
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


def in_one_pass(added: Mapping[str, Added]) -> dict[str, Added]:
    """The same with `normalized` off where it says nothing: texts are never normalized here, so it
    is only the order in which tokens are looked for, which matters where two overlap."""
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


def cut(text: str, steps: tuple[str, ...]) -> Iterator[str]:
    """The words of a text, each step applied to what the one before left."""
    if not steps:
        if text:
            yield text
        return
    for piece in cut(text, steps[:-1]):
        yield from _apply(steps[-1], piece)


def _apply(step: str, text: str) -> Iterator[str]:
    if step == GPT2:
        yield from split(text)
    elif step == SPACE:
        yield text if text.startswith(" ") else " " + text
    else:
        yield from filter(None, compiled(_NUMERALS[step]).split(text))


def extract(text: str, added: Mapping[str, Added], allowed: Collection[str]) -> Iterator[str | int]:
    """The parts of a text: ids of the added tokens in it, and the texts between them.

    allowed: the special tokens that may be found; another stays text, all of it. Those that are
    not `normalized` are looked for first; at the same place the longest is taken.
    """
    parts: list[str | int] = [text]
    for late in (False, True):
        table = {
            t: a if not a.special or t in allowed else None
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
