"""Search over texts: words as parts of a message, in capitals or not.

Where SQLite has FTS5 and its trigrams, an index finds the messages, else each is looked through;
what is found is the same. The index is made when somebody searches, and brought up to date then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ..errors import StoreError

__all__ = ["bring_up_to_date", "fold", "forget", "holds", "narrowed", "rewrite"]

_TRIGRAM = 3  # characters that a word must have for the index to know it


def fold(text: str) -> str:
    return text.casefold()


def holds(text: str, words: Iterable[str]) -> bool:
    """Whether every word, folded, is a part of the text."""
    folded = fold(text)
    return all(word in folded for word in words)


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Index what was kept since the last search. Inside a transaction that may write."""
    try:
        if not _exists(connection):
            connection.execute(
                "CREATE VIRTUAL TABLE search USING fts5 (text, tokenize='trigram case_sensitive 1')"
            )
        rows = connection.execute(
            "SELECT number, text FROM messages "
            "WHERE number > (SELECT ifnull(max(rowid), 0) FROM search)"
        )
        _add(connection, rows.fetchall())
    except sqlite3.OperationalError as error:
        if not _is_missing(error):
            raise


def rewrite(connection: sqlite3.Connection, number: int, text: str) -> None:
    """Another text in a message's place, where the index has it. Inside a transaction that may
    write."""
    if not _exists(connection):
        return
    try:
        known = connection.execute("SELECT 1 FROM search WHERE rowid = ?", (number,)).fetchone()
        if known:
            connection.execute("DELETE FROM search WHERE rowid = ?", (number,))
            _add(connection, [(number, text)])
    except sqlite3.OperationalError as error:
        if not _is_missing(error):
            raise


def narrowed(
    connection: sqlite3.Connection, words: Iterable[str]
) -> tuple[str, tuple[object, ...]]:
    """-> a condition on messages that all that hold the words meet, and its arguments."""
    known = [word for word in words if len(word) >= _TRIGRAM and "\0" not in word]
    if not known or not _exists(connection):
        return "1", ()
    try:
        (newest,) = connection.execute("SELECT ifnull(max(rowid), 0) FROM search").fetchone()
    except sqlite3.OperationalError as error:
        if _is_missing(error):
            return "1", ()
        raise
    wanted = " AND ".join('"{}"'.format(word.replace('"', '""')) for word in known)
    return (
        "(number > ? OR number IN (SELECT rowid FROM search WHERE search MATCH ?))",
        (newest, wanted),
    )


def forget(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Take messages out of the index. Inside a transaction that may write; `optimize` merges what
    is left, so that no page of the index holds their words any more."""
    if not _exists(connection):
        return
    try:
        connection.executemany("DELETE FROM search WHERE rowid = ?", ((n,) for n in numbers))
        connection.execute("INSERT INTO search (search) VALUES ('optimize')")
    except sqlite3.OperationalError as error:
        if not _is_missing(error):
            raise
        raise StoreError(
            "this Python's SQLite has no FTS5, with which the store's index was made: delete with "
            "the Python that searched, or the words would stay in the index"
        ) from error


def _add(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]]) -> None:
    connection.executemany(
        "INSERT INTO search (rowid, text) VALUES (?, ?)",
        # At a NUL its trigrams would end.
        ((number, fold(text).replace("\0", " ")) for number, text in rows),
    )


def _exists(connection: sqlite3.Connection) -> bool:
    named = "SELECT 1 FROM sqlite_master WHERE name = 'search'"
    return connection.execute(named).fetchone() is not None


def _is_missing(error: sqlite3.OperationalError) -> bool:
    """Whether SQLite was built without FTS5, or is older than its trigrams (3.34)."""
    return any(part in str(error) for part in ("no such module", "no such tokenizer"))
