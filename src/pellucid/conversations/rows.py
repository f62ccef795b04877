"""Rows of a store's tables <-> what they mean."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from ..errors import InputError, StoreError
from .records import Alternative, Generated, Head, Message, Token

__all__ = ["head_of", "heads", "instant", "messages", "write_head", "write_message"]

_HEADS = (
    "SELECT id, title, created, changed, model, tokenizer, template, settings, system, leaf, "
    "(SELECT count(*) FROM messages WHERE conversation = conversations.id) FROM conversations "
)
_MESSAGES = (
    "SELECT id, conversation, parent, role, text, created, source, step, reason, prompt, seed, "
    "model, settings FROM messages "
)
_TOKENS = "SELECT message, step, id, text, bytes, logprob, alternatives FROM tokens "


def instant(time: datetime) -> str:
    """A time as it is kept: in order as texts, too."""
    return time.isoformat(timespec="microseconds")


# Reading


def heads(connection: sqlite3.Connection, rest: str, values: Iterable[object] = ()) -> list[Head]:
    """rest: of the query, after FROM."""
    return [_head(row) for row in connection.execute(_HEADS + rest, tuple(values))]


def head_of(connection: sqlite3.Connection, conversation: str) -> Head:
    """Raises InputError for one that is not there."""
    found = heads(connection, "WHERE id = ?", (conversation,))
    if not found:
        raise InputError(f"there is no conversation {conversation!r} in the store")
    return found[0]


def messages(
    connection: sqlite3.Connection,
    rest: str,
    values: Iterable[object] = (),
    *,
    with_tokens: bool = True,
) -> list[Message]:
    """rest: of the query, after FROM messages. with_tokens: with all of each reply's."""
    rows = connection.execute(_MESSAGES + rest, tuple(values)).fetchall()
    tokens: dict[str, tuple[Token, ...]] = {}
    for some in _several([row[0] for row in rows if with_tokens and row[9] is not None]):
        found = connection.execute(
            f"{_TOKENS} WHERE message IN ({', '.join('?' * len(some))}) ORDER BY message, step",
            some,
        )
        for message, group in groupby(found, key=itemgetter(0)):
            tokens[message] = tuple(_token(message, row) for row in group)
    return [_message(row, tokens.get(row[0], ())) for row in rows]


def _several(ids: list[str], most: int = 500) -> Iterable[list[str]]:
    """As many as a statement of SQLite takes."""
    return (ids[at : at + most] for at in range(0, len(ids), most))


def _head(row: tuple[Any, ...]) -> Head:
    try:
        return Head(
            id=row[0],
            title=row[1],
            created=datetime.fromisoformat(row[2]),
            changed=datetime.fromisoformat(row[3]),
            model=row[4],
            tokenizer=row[5],
            template=row[6],
            settings=json.loads(row[7]),
            system=row[8],
            leaf=row[9],
            n_messages=row[10],
        )
    except (TypeError, ValueError) as error:
        raise _changed_by_hand("conversation", row[0], error) from error


def _message(row: tuple[Any, ...], tokens: tuple[Token, ...]) -> Message:
    try:
        generated = None
        if row[9] is not None:
            generated = Generated(
                reason=row[8],
                prompt=tuple(json.loads(row[9])),
                seed=int(row[10]),
                model=row[11],
                settings=json.loads(row[12]),
                tokens=tokens,
            )
        return Message(
            id=row[0],
            conversation=row[1],
            parent=row[2],
            role=row[3],
            text=row[4],
            created=datetime.fromisoformat(row[5]),
            source=row[6],
            step=row[7],
            generated=generated,
        )
    except (TypeError, ValueError) as error:
        raise _changed_by_hand("message", row[0], error) from error


def _token(message: str, row: tuple[Any, ...]) -> Token:
    try:
        others = tuple(Alternative(*other) for other in json.loads(row[6]))
        return Token(id=row[2], text=row[3], bytes=row[4], logprob=row[5], alternatives=others)
    except (TypeError, ValueError) as error:
        raise _changed_by_hand("message", message, error) from error


def _changed_by_hand(kind: str, name: str, error: Exception) -> StoreError:
    return StoreError(f"the store's {kind} {name} is not as Pellucid wrote it: {error}")


# Writing


def write_head(connection: sqlite3.Connection, head: Head) -> None:
    """A new one, or what has changed of one that is there."""
    fields = {
        "id": head.id,
        "title": head.title,
        "created": instant(head.created),
        "changed": instant(head.changed),
        "model": head.model,
        "tokenizer": head.tokenizer,
        "template": head.template,
        "settings": _json(head.settings),
        "system": head.system,
        "leaf": head.leaf,
    }
    changes = ", ".join(f"{name} = excluded.{name}" for name in fields if name != "id")
    connection.execute(
        f"INSERT INTO conversations ({', '.join(fields)}) VALUES "
        f"({', '.join(f':{name}' for name in fields)}) ON CONFLICT (id) DO UPDATE SET {changes}",
        fields,
    )


def write_message(connection: sqlite3.Connection, message: Message) -> int | None:
    """A new one, or a reply that was unfinished -> the number of one that is written anew.

    Raises InputError where another one of this id is there.
    """
    old = connection.execute(
        "SELECT number, reason, prompt FROM messages WHERE id = ?", (message.id,)
    ).fetchone()
    if old is None:
        _insert(connection, message)
        return None
    (known,) = messages(connection, "WHERE id = ?", (message.id,))
    if known == message:
        return None
    rewritten = ("text", "generated")
    same = all(
        getattr(known, name) == getattr(message, name)
        for name in ("conversation", "parent", "role", "created", "source", "step")
    )
    if known.finished or not same or message.generated is None:
        what = "is finished" if known.finished else f"may change its {' and '.join(rewritten)} only"
        raise InputError(f"the message {message.id} is in the store already, and {what}")
    connection.execute(
        "UPDATE messages SET text = ?, reason = ?, prompt = ?, seed = ?, model = ?, settings = ? "
        "WHERE id = ?",
        (message.text, *_generated(message.generated), message.id),
    )
    connection.execute("DELETE FROM tokens WHERE message = ?", (message.id,))
    _write_tokens(connection, message)
    return int(old[0])


def _insert(connection: sqlite3.Connection, message: Message) -> None:
    connection.execute(
        "INSERT INTO messages (id, conversation, parent, role, text, created, source, step, "
        "reason, prompt, seed, model, settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.id,
            message.conversation,
            message.parent,
            message.role,
            message.text,
            instant(message.created),
            message.source,
            message.step,
            *_generated(message.generated),
        ),
    )
    _write_tokens(connection, message)


def _generated(generated: Generated | None) -> tuple[object, ...]:
    if generated is None:
        return (None,) * 5
    return (
        generated.reason,
        _json(list(generated.prompt)),
        str(generated.seed),
        generated.model,
        _json(generated.settings),
    )


def _write_tokens(connection: sqlite3.Connection, message: Message) -> None:
    if message.generated is not None:
        connection.executemany(
            "INSERT INTO tokens (message, step, id, text, bytes, logprob, alternatives) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    message.id,
                    step,
                    token.id,
                    token.text,
                    token.bytes,
                    token.logprob,
                    _json(token.alternatives),
                )
                for step, token in enumerate(message.generated.tokens)
            ),
        )


def _json(value: Mapping[str, Any] | Iterable[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
