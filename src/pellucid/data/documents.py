"""What a row of a file means: a text, a conversation, or a pair of replies.

`SHAPES` is the whole table: a row is of the first shape whose keys it has. A new shape is a line
there and one function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from ..template import Message
from .files import BadDocument
from .learned import ABOUT_ROWS, check_row, is_learned
from .preferences import BESIDE, Preference, preference
from .rows import Row
from .turns import SYSTEM, exchanges, listed, said, string, system_turn, turn

__all__ = [
    "SHAPES",
    "Document",
    "Preference",
    "Shape",
    "columns",
    "cut",
    "document_of",
    "preference_of",
    "shapes",
    "text_document",
]

PIECE = 1 << 16  # characters of a text that are in memory at a time, or few more
# A place where no word of GPT-2's split, and so no token, lies across: before a space.
_BORDER = re.compile(r"\S(?=[ \n])")

# Keys that make a row mean something that no chat template here can write.
_ROWS_REFUSED = ("tools", "functions", "images", "audios", "videos")


class Document(NamedTuple):
    """place: file and line. A text is `begin` and then the pieces of `rest`, each cut where no
    token lies across; `rest` must be read before the next document. Of a conversation, turns
    holds them and `begin` all of them in one; unlearned: the numbers of the assistant's turns
    that are given, and not learned; withheld: whether the file itself says so of one."""

    place: str
    begin: str
    rest: Iterator[str]
    turns: tuple[Message, ...] | None = None
    unlearned: frozenset[int] = frozenset()
    withheld: bool = False

    def pieces(self) -> Iterator[str]:
        """A text piece by piece, once; or the text of each turn."""
        if self.turns is not None:
            yield from (text for _, text in self.turns)
        else:
            yield self.begin
            yield from self.rest


Meaning = TypeVar("Meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """keys: a row of this shape has all of them, not null. also: what else of it is read.
    read: the row and the keys -> what it means; raises BadDocument."""

    keys: tuple[str, ...]
    also: tuple[str, ...] = ()
    read: Callable[..., Document | Preference]


# From texts


def cut(blocks: Iterable[str]) -> Iterator[str]:
    """A text in any blocks -> in pieces of PIECE characters or a few more, always the same ones.

    A piece ends before a space or line end, where encoding the pieces gives the same ids as
    encoding the whole. A text without such a place is one piece.
    """
    waiting, searched = "", PIECE
    for block in blocks:
        waiting += block
        begin = 0
        while border := _BORDER.search(waiting, max(begin, searched)):
            yield waiting[begin : border.end()]
            begin = border.end()
            searched = begin + PIECE
        waiting = waiting[begin:]
        # The last character is looked at again: what follows it decides.
        searched = max(searched - begin, len(waiting) - 1)
    if waiting:
        yield waiting


def text_document(place: str, blocks: Iterable[str]) -> Document:
    pieces = cut(blocks)
    return Document(place, next(pieces, ""), pieces)


def _text(row: Row, key: str) -> Document:
    return text_document(row.place, [string(row, key)])


# Conversations


def _conversation(
    place: str,
    turns: Sequence[Message],
    unlearned: Iterable[int] = (),
    *,
    withheld: bool = False,
) -> Document:
    words = any(text.strip() for _, text in turns)
    whole = "".join(f"{role}\0{text}\0" for role, text in turns)
    begin = whole if words else ""
    return Document(place, begin, iter(()), tuple(turns), frozenset(unlearned), withheld)


def _turns(row: Row, key: str) -> Document:
    """OpenAI's "messages", ShareGPT's "conversations", and our own "turns"."""
    system = system_turn(row)
    entries = listed(row.fields[key])
    entries = entries if isinstance(entries, list) else [entries]
    turns = (*system, *(turn(row, key, entry) for entry in entries))
    unlearned = _given(row, key, entries, turns[len(system) :], len(system))
    return _conversation(row.place, turns, unlearned, withheld=bool(unlearned))


def _given(
    row: Row, key: str, entries: Sequence[Any], turns: Sequence[Message], first: int
) -> set[int]:
    """The numbers, from `first`, of the turns of which the file says that they are not learned."""
    check_row(row)
    learned = (
        is_learned(row, key, entry, assistant=role == "assistant")
        for entry, (role, _) in zip(entries, turns, strict=True)
    )
    return {at for at, each in enumerate(learned, first) if each is False}


def _asked(row: Row, question: str, answer: str) -> Document:
    """Alpaca's, Dolly's and Orca's: a task, perhaps a text that it is about, and the answer."""
    check_row(row)
    turns = [*system_turn(row), *exchanges(row)]
    task = string(row, question)
    for about in ("input", "context"):
        if about != question and row.fields.get(about):
            task = f"{task}\n\n{string(row, about)}"
    return _conversation(
        row.place, [*turns, Message("user", task), Message("assistant", string(row, answer))]
    )


def _completed(row: Row, prompt: str, completion: str) -> Document:
    """A prompt and what follows it, as texts or as turns; only what follows is learned."""
    if str(row.fields.get("label")).lower() in ("true", "false", "0", "1"):  # a table's too
        raise BadDocument(
            f'{row.place} has "label": whether a completion is good is not learned from here; '
            "keep the rows of good ones, without it"
        )
    before = [*system_turn(row), *said(row, prompt, "user")]
    after = said(row, completion, "assistant")
    value = listed(row.fields[completion])
    entries = value if isinstance(value, list) else [value]
    given = _given(row, completion, entries, after, len(before))
    return _conversation(
        row.place, [*before, *after], {*range(len(before)), *given}, withheld=bool(given)
    )


# The table


SHAPES: tuple[Shape, ...] = (
    Shape(keys=("turns",), also=SYSTEM, read=_turns),
    Shape(keys=("messages",), also=SYSTEM, read=_turns),
    Shape(keys=("conversations",), also=SYSTEM, read=_turns),
    Shape(keys=("conversation",), also=SYSTEM, read=_turns),
    Shape(keys=("text",), read=_text),
    Shape(keys=("instruction", "output"), also=("input", "history", *SYSTEM), read=_asked),
    Shape(keys=("instruction", "response"), also=("context", *SYSTEM), read=_asked),
    Shape(keys=("question", "response"), also=("context", *SYSTEM), read=_asked),
    Shape(keys=("question", "answer"), also=("context", *SYSTEM), read=_asked),
    Shape(keys=("prompt", "response"), also=("context", *SYSTEM), read=_asked),
    Shape(keys=("input", "output"), also=SYSTEM, read=_asked),
    Shape(keys=("prompt", "completion"), also=("label", *SYSTEM), read=_completed),
    Shape(keys=("chosen", "rejected"), also=BESIDE, read=preference),
    Shape(keys=("preferred_output", "non_preferred_output"), also=BESIDE, read=preference),
)
_PAIRS = SHAPES[-2:]


def shapes(text_field: str | None = None, turns_field: str | None = None) -> tuple[Shape, ...]:
    """The table; or, where fields are named, a text and turns in these."""
    if text_field is None and turns_field is None:
        return SHAPES
    named = [] if turns_field is None else [Shape(keys=(turns_field,), read=_turns)]
    return (*named, Shape(keys=(text_field or "text",), read=_text))


def columns(table: Sequence[Shape]) -> tuple[str, ...]:
    """Every key that a row may be read by."""
    names = (name for shape in table for name in (*shape.keys, *shape.also))
    return tuple(dict.fromkeys([*names, *_ROWS_REFUSED, *ABOUT_ROWS]))


def document_of(row: Row, table: Sequence[Shape] = SHAPES) -> Document:
    """Raises BadDocument for a row that is of no shape, or of one that is no document."""
    meaning = _meaning(row, table)
    if isinstance(meaning, Preference):
        raise BadDocument(f"{row.place} is a pair of replies, one better: for pellucid prefer")
    return meaning


def preference_of(row: Row) -> Preference:
    """Raises BadDocument for a row that is no pair of replies."""
    meaning = _meaning(row, _PAIRS)
    assert isinstance(meaning, Preference)
    return meaning


def _meaning(row: Row, table: Sequence[Shape]) -> Document | Preference:
    for name in _ROWS_REFUSED:
        if row.fields.get(name):
            raise BadDocument(
                f'{row.place} has "{name}", which no chat template here can write: leave such '
                "rows out"
            )
    for shape in table:
        if all(row.fields.get(key) is not None for key in shape.keys):
            return shape.read(row, *shape.keys)
    for shape in table:
        if all(key in row.fields for key in shape.keys):
            empty = next(key for key in shape.keys if row.fields[key] is None)
            raise BadDocument(f'{row.place}: "{empty}" is null')
    listed = [shape for shape in table if shape not in _PAIRS] or table[:1]
    known = ", ".join(" and ".join(f'"{key}"' for key in shape.keys) for shape in listed)
    raise BadDocument(f"{row.place} has no {known}: it has {', '.join(row.fields) or 'nothing'}")
