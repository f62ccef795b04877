"""Conversations as files: JSON lines that hold all of them, Markdown to be read.

A line has "messages", role and content, of the branch that the conversation goes on from: what
others read, and `pellucid data` learns from. Beside them stand the head and the whole tree, which
`read_lines` takes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import InputError
from ..files import Reader
from .records import Alternative, Generated, Head, Message, Token, Tree

if TYPE_CHECKING:
    import os

__all__ = ["line", "markdown", "read_lines"]

FORMAT = "pellucid conversation tree 1"
_LONGEST = 1 << 28  # bytes of a line
_READER = Reader(error=InputError)
_DIGITS = 400  # of a seed, which has no limit of its own


def line(tree: Tree) -> dict[str, Any]:
    """One conversation as JSON holds it, to be written on a line of its own."""
    head, said = tree.head, []
    if head.system:
        said.append({"role": "system", "content": head.system})
    said += [{"role": message.role, "content": message.text} for message in tree.path()]
    return {
        "format": FORMAT,
        "id": head.id,
        "title": head.title,
        "messages": said,
        "created": head.created.isoformat(),
        "changed": head.changed.isoformat(),
        "model": head.model,
        "tokenizer": head.tokenizer,
        "template": head.template,
        "settings": dict(head.settings),
        "system_text": head.system,
        "leaf": head.leaf,
        "tree": [_entry(message) for message in tree.messages],
    }


def _entry(message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": message.id,
        "parent": message.parent,
        "role": message.role,
        "text": message.text,
        "created": message.created.isoformat(),
        "source": message.source,
        "step": message.step,
        "generated": None,
    }
    if (generated := message.generated) is not None:
        entry["generated"] = {
            "model": generated.model,
            "settings": dict(generated.settings),
            "prompt": list(generated.prompt),
            "seed": generated.seed,
            "reason": generated.reason,
            "tokens": [
                {
                    "id": token.id,
                    "text": token.text,
                    "bytes": list(token.bytes),
                    "logprob": token.logprob,
                    "alternatives": [other._asdict() for other in token.alternatives],
                }
                for token in generated.tokens
            ],
        }
    return entry


def markdown(tree: Tree) -> str:
    """The branch that the conversation goes on from, as a person reads it."""
    head, path = tree.head, tree.path()
    parts = [f"# {head.title or head.id}", f"*{head.model}, {head.created:%Y-%m-%d %H:%M} UTC*"]
    if head.system:
        parts += ["## System", head.system]
    for message in path:
        name = message.generated.model if message.generated else "Reply"
        parts += [f"## {'You' if message.role == 'user' else name}", message.text.strip("\n")]
        if not message.finished:
            parts.append("*(broken off)*")
    if others := len(tree.messages) - len(path):
        parts.append(f"*Messages in other branches, left out here: {others}.*")
    return "\n\n".join(parts) + "\n"


# Reading back


def read_lines(path: str | os.PathLike[str]) -> Iterator[Tree]:
    """The conversations of a file that `line` filled. Raises InputError, naming the line, for
    anything else."""
    with _READER.open(Path(path)) as file:
        number = 0
        while data := file.readline(_LONGEST + 1):
            number += 1
            place = f"{path}, line {number}"
            if len(data) > _LONGEST:
                raise InputError(f"{place} is longer than {_LONGEST} bytes: no conversation is")
            if data.strip():
                yield _tree(_READER.parse_object(data, place, _DIGITS), place)


def _tree(table: dict[str, Any], place: str) -> Tree:
    if table.get("format") != FORMAT:
        raise InputError(
            f"{place} is no conversation that `pellucid conversations export` wrote as jsonl"
        )
    of = _Fields(table, place)
    head = Head(
        id=of.text("id"),
        title=of.text("title"),
        created=of.time("created"),
        changed=of.time("changed"),
        model=of.text("model"),
        tokenizer=of.text("tokenizer"),
        template=of.text("template"),
        settings=of.table("settings"),
        system=of.text_or_none("system_text"),
        leaf=of.text_or_none("leaf"),
        n_messages=len(of.several("tree")),
    )
    messages: dict[str, Message] = {}
    for entry in of.several("tree"):
        message = _message(_Fields(entry, f"{place}, message {len(messages)}"), head.id)
        if message.id in messages or not {message.parent, message.source} <= {None, *messages}:
            raise InputError(
                f"{place}: the message {message.id} is there twice, or before what it follows"
            )
        messages[message.id] = message
    if head.leaf is not None and head.leaf not in messages:
        raise InputError(f"{place}: leaf names no message of the tree")
    return Tree(head=head, messages=tuple(messages.values()))


def _message(of: _Fields, conversation: str) -> Message:
    generated = of.table_or_none("generated")
    role = of.text("role")
    if role not in ("user", "assistant") or (role == "user" and generated is not None):
        of.wrong("role", "user, or assistant with what it generated")
    return Message(
        id=of.text("id"),
        conversation=conversation,
        parent=of.text_or_none("parent"),
        role="user" if role == "user" else "assistant",
        text=of.text("text"),
        created=of.time("created"),
        source=of.text_or_none("source"),
        step=of.count_or_none("step"),
        generated=None if generated is None else _generated(_Fields(generated, of.place)),
    )


def _generated(of: _Fields) -> Generated:
    return Generated(
        model=of.text("model"),
        settings=of.table("settings"),
        prompt=of.counts("prompt"),
        seed=of.count("seed"),
        reason=of.text_or_none("reason"),
        tokens=tuple(_token(_Fields(entry, of.place)) for entry in of.several("tokens")),
    )


def _token(of: _Fields) -> Token:
    value = of.counts("bytes")
    if any(byte > 255 for byte in value):
        of.wrong("bytes", "numbers below 256")
    return Token(
        id=of.count("id"),
        text=of.text("text"),
        bytes=bytes(value),
        logprob=of.number_or_none("logprob"),
        alternatives=tuple(
            Alternative(other.count("token"), other.text("text"), other.number("logprob"))
            for other in (_Fields(entry, of.place) for entry in of.several("alternatives"))
        ),
    )


class _Fields:
    """A table of a file, whose fields are of the kind they must be."""

    def __init__(self, table: object, place: str) -> None:
        if not isinstance(table, dict):
            raise InputError(f"{place}: there must be a table, not {_short(table)}")
        self.fields: dict[str, Any] = table
        self.place = place

    def wrong(self, name: str, kind: str) -> NoReturn:
        value = _short(self.fields.get(name))
        raise InputError(f"{self.place}: {name} must be {kind}, not {value}")

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        return value if isinstance(value, str) else self.wrong(name, "a text")

    def text_or_none(self, name: str) -> str | None:
        return None if self.fields.get(name) is None else self.text(name)

    def count(self, name: str) -> int:
        value: Any = self.fields.get(name)
        fits = type(value) is int and value >= 0
        return int(value) if fits else self.wrong(name, "a whole number")

    def count_or_none(self, name: str) -> int | None:
        return None if self.fields.get(name) is None else self.count(name)

    def counts(self, name: str) -> tuple[int, ...]:
        values = self.several(name)
        fit = all(type(value) is int and value >= 0 for value in values)
        return tuple(values) if fit else self.wrong(name, "whole numbers")

    def number(self, name: str) -> float:
        value: Any = self.fields.get(name)
        return float(value) if type(value) in (int, float) else self.wrong(name, "a number")

    def number_or_none(self, name: str) -> float | None:
        return None if self.fields.get(name) is None else self.number(name)

    def several(self, name: str) -> list[Any]:
        value = self.fields.get(name)
        return value if isinstance(value, list) else self.wrong(name, "a list")

    def table(self, name: str) -> dict[str, Any]:
        value = self.fields.get(name)
        return value if isinstance(value, dict) else self.wrong(name, "a table")

    def table_or_none(self, name: str) -> dict[str, Any] | None:
        return None if self.fields.get(name) is None else self.table(name)

    def time(self, name: str) -> datetime:
        try:
            value = datetime.fromisoformat(self.text(name))
        except ValueError:
            self.wrong(name, "a time, such as 2026-01-31T12:00:00+00:00")
        if value.tzinfo is None:
            self.wrong(name, "a time with its zone, such as 2026-01-31T12:00:00+00:00")
        return value


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
