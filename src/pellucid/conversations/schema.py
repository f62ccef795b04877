"""The tables of a store, as an ordered list of changes to an empty database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..errors import StoreError

__all__ = ["APPLICATION", "MIGRATIONS", "Migration", "check_file", "migrate", "version_of"]

APPLICATION = int.from_bytes(b"Plcd")  # sqlite.org/pragma.html#pragma_application_id

_MAGIC = b"SQLite format 3\0"
_HEADER = 100  # bytes; sqlite.org/fileformat2.html#the_database_header
_VERSION, _PROGRAM = slice(60, 64), slice(68, 72)


class Migration(NamedTuple):
    """One change. A store's version is how many it has; those that were released never change."""

    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "conversations, messages and tokens",
        (
            """CREATE TABLE conversations (
                id TEXT PRIMARY KEY,
                title TEXT NOT NULL,
                created TEXT NOT NULL,
                changed TEXT NOT NULL,
                model TEXT NOT NULL,
                tokenizer TEXT NOT NULL,
                template TEXT NOT NULL,
                settings TEXT NOT NULL,
                system TEXT,
                leaf TEXT,
                FOREIGN KEY (id, leaf) REFERENCES messages (conversation, id)
                    DEFERRABLE INITIALLY DEFERRED
            )""",
            "CREATE INDEX conversations_by_change ON conversations (changed, id)",
            # number: the order in which they were kept. The last four are a generated reply's;
            # a seed may be larger than SQLite's integers.
            """CREATE TABLE messages (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
                parent TEXT,
                role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
                text TEXT NOT NULL,
                created TEXT NOT NULL,
                source TEXT,
                step INTEGER,
                reason TEXT,
                prompt TEXT,
                seed TEXT,
                model TEXT,
                settings TEXT,
                UNIQUE (conversation, id),
                FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id)
                    ON DELETE CASCADE,
                FOREIGN KEY (conversation, source) REFERENCES messages (conversation, id)
            )""",
            "CREATE INDEX messages_by_parent ON messages (conversation, parent)",
            "CREATE INDEX messages_by_source ON messages (conversation, source)",
            """CREATE TABLE tokens (
                message TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
                step INTEGER NOT NULL,
                id INTEGER NOT NULL,
                text TEXT NOT NULL,
                bytes BLOB NOT NULL,
                logprob REAL,
                alternatives TEXT NOT NULL,
                PRIMARY KEY (message, step)
            ) WITHOUT ROWID""",
        ),
    ),
)


def check_file(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Read the first bytes of a store, before SQLite may change any.

    Raises StoreError for a file that is no store, or is one of a newer version.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that no file can have
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise StoreError(f"cannot read {path}: {reason}") from error
    if not head:
        return
    if not head.startswith(_MAGIC) or len(head) < _HEADER:
        raise StoreError(
            f"{path} is no database: name another store, or move this file out of the way"
        )
    program, version = int.from_bytes(head[_PROGRAM]), int.from_bytes(head[_VERSION])
    last = _last_change(path) if program == APPLICATION and version > len(migrations) else ""
    _check(path, program, version, len(migrations), last)


def _last_change(path: Path) -> str:
    """Of a store that is only looked at: no file beside it is made."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _newest_name(connection)
    except sqlite3.Error:
        return ""


def _check(path: Path, program: int, version: int, known: int, last: str = "") -> None:
    if program not in (0, APPLICATION):  # 0: its first change is not finished
        raise StoreError(f"{path} is a database of another program: name another store")
    if program and version > known:
        named = f" (its last change is {last!r})" if last else ""
        raise StoreError(
            f"{path} was written by a newer Pellucid: it has version {version}{named}, and this "
            f"one knows {known}. It was left as it is: install the newer version, or name "
            "another store"
        )


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> bool:
    """Bring a database to the newest version, each change whole or not at all -> whether one was
    made.

    Raises StoreError for a database of another program or of a newer version.
    """
    changed = False
    while (version := version_of(connection, path, len(migrations))) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            if version_of(connection, path, len(migrations)) == version:
                _apply(connection, version, migrations[version])
                changed = True
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return changed


def version_of(connection: sqlite3.Connection, path: Path, known: int = len(MIGRATIONS)) -> int:
    """How many changes it has. Raises StoreError as `migrate` does; nothing is written."""
    (program,) = connection.execute("PRAGMA application_id").fetchone()
    if not program:
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            return 0
        # Made by somebody between these two looks: the first change names the program, too.
        (program,) = connection.execute("PRAGMA application_id").fetchone()
        if not program:
            raise StoreError(f"{path} is a database of another program: name another store")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    last = ""
    if program == APPLICATION and version > known:
        last = _newest_name(connection)
    _check(path, program, version, known, last)
    return int(version)


def _newest_name(connection: sqlite3.Connection) -> str:
    newest = "SELECT name FROM migrations ORDER BY number DESC"
    (name,) = connection.execute(newest).fetchone() or ("",)
    return str(name)


def _apply(connection: sqlite3.Connection, version: int, migration: Migration) -> None:
    if not version:
        connection.execute(
            "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "applied TEXT NOT NULL)"
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
    for statement in migration.statements:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO migrations VALUES (?, ?, ?)",
        (version + 1, migration.name, datetime.now(UTC).isoformat(timespec="seconds")),
    )
    connection.execute(f"PRAGMA user_version = {version + 1}")
