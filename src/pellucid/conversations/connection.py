"""One connection to a store's file, for all threads: what goes wrong with it, in plain words."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError, StoreError
from .schema import check_file, migrate, version_of

__all__ = ["Connection"]

_REMEDY = {
    sqlite3.SQLITE_BUSY: "another program holds it: close that one, or try again",
    sqlite3.SQLITE_LOCKED: "another program holds it: close that one, or try again",
    sqlite3.SQLITE_READONLY: "it may only be read: choose a place where you may write",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: choose a place where you may write",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_IOERR: "the disk failed, or is full: make room, or choose another place",
    sqlite3.SQLITE_NOTADB: "it is no database: name another store, or move it out of the way",
    sqlite3.SQLITE_CORRUPT: "it is damaged: go on from a backup, or name another store",
    sqlite3.SQLITE_TOOBIG: "one text is larger than SQLite holds",
}


class Connection:
    """To be used by one thread at a time (`reading`, `writing` see to it).

    path: of the file; it and its folder are made, for the person alone, where create says so.
    wait: seconds that another program may hold it. Raises StoreError for a file that cannot be
    opened, is no store, or is one of a newer version.
    """

    def __init__(self, path: Path, *, create: bool, wait: float) -> None:
        self.path = path
        self._lock = threading.RLock()
        check_file(path)
        if create:
            _make(path)
        elif not path.exists():
            raise StoreError(
                f"there is no store of conversations at {path}: `pellucid chat` makes it"
            )
        with self._plainly():
            self._sqlite = _connect(path, wait)
        try:
            with self._plainly():
                if migrate(self._sqlite, path):
                    # Into the file itself: whoever looks at its first bytes sees the version.
                    self._sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except BaseException:
            self._sqlite.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._sqlite.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the store for the whole block."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that the block changes, or, when it raises, nothing."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """For what no transaction may hold, such as a backup."""
        with self._lock, self._plainly():
            yield self._sqlite

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._plainly():
            self._sqlite.execute(begin)
            try:
                yield self._sqlite
                self._sqlite.execute("COMMIT")
            except BaseException:
                if self._sqlite.in_transaction:  # SQLite itself may have ended it
                    self._sqlite.execute("ROLLBACK")
                raise

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            known = _REMEDY.get(code & 0xFF) if code is not None else None
            if isinstance(error, sqlite3.ProgrammingError) and code is None:
                known = "it was closed"
            raise StoreError(f"the store of conversations {self.path}: {known or error}") from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise InputError(f"a text or a number that no store can hold: {error}") from error


def _make(path: Path) -> None:
    """An empty file that only this person may read; SQLite gives those beside it its rights."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except PermissionError:
        if not path.is_file():
            raise StoreError(f"cannot make {path}: choose a place where you may write") from None
    except OSError as error:
        if not path.is_file():  # one that may only be read is
            raise StoreError(
                f"cannot make {path}: {error.strerror or error}; name another store"
            ) from error


def _connect(path: Path, wait: float) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    try:
        return _opened(f"{uri}?mode=rw", path, wait)
    except sqlite3.OperationalError:
        log = path.with_name(f"{path.name}-wal")
        if os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
            raise
        # Nobody can write beside it: it is what its own file says.
        return _opened(f"{uri}?mode=ro&immutable=1", path, wait)


def _opened(uri: str, path: Path, wait: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False
    )
    try:
        version_of(connection, path)  # before a foreign one is changed
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")  # outlives a loss of power
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if "mode=rw" in uri:
            connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection
