"""The store: conversations in one SQLite file, for any number of threads and programs at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import InputError, StoreError
from ..files import new_file
from . import search
from .connection import Connection
from .place import store_path
from .records import Generated, Head, Hit, Message, Tree, new_id
from .rows import head_of, heads, instant, messages, write_head, write_message

__all__ = ["Store"]

TITLE = 60  # characters of what was said first
_CHANGEABLE = {"title", "model", "settings", "system", "template"}


class Store:
    """Every method is one transaction, and what it wrote is on disk when it returns.

    Texts that are not Unicode (half a surrogate pair) and conversations or messages that are not
    there are an InputError; a file that cannot be read or written a StoreError.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        create: bool = True,
        wait: float = 5.0,
    ) -> Store:
        """path: of the file; None is where `store_path` says. create: make it where there is none.
        wait: seconds that another program may hold it before that is an error.

        Raises StoreError for a file that cannot be opened or made, is no store of Pellucid, or is
        one of a newer version, which is left as it is.
        """
        return cls(
            Connection(store_path() if path is None else Path(path), create=create, wait=wait)
        )

    @property
    def path(self) -> Path:
        return self._connection.path

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Writing

    def new(
        self,
        *,
        model: str,
        tokenizer: str,
        template: str,
        settings: Mapping[str, Any],
        system: str | None = None,
        title: str = "",
        id: str | None = None,
    ) -> Head:
        """An empty conversation. title: where it is empty, the first message becomes it."""
        now = datetime.now(UTC)
        head = Head(
            id=id or new_id(),
            title=title,
            created=now,
            changed=now,
            model=model,
            tokenizer=tokenizer,
            template=template,
            settings=dict(settings),
            system=system,
        )
        _check_texts(title, system or "", model)
        with self._connection.writing() as connection:
            if heads(connection, "WHERE id = ?", (head.id,)):
                raise InputError(f"the conversation {head.id} is in the store already")
            write_head(connection, head)
        return head

    def add_message(
        self,
        conversation: str,
        text: str,
        *,
        parent: str | None = None,
        source: str | None = None,
        id: str | None = None,
    ) -> Message:
        """What a person said, after the message `parent` (None: at the beginning); the
        conversation goes on from it. source: the message that it is an edit of."""
        return self.put(
            Message(
                id=id or new_id(),
                conversation=conversation,
                parent=parent,
                role="user",
                text=text,
                created=datetime.now(UTC),
                source=source,
            )
        )

    def add_reply(
        self,
        conversation: str,
        text: str,
        generated: Generated | None = None,
        *,
        parent: str,
        source: str | None = None,
        step: int | None = None,
        id: str | None = None,
    ) -> Message:
        """What a model said to the message `parent`; the conversation goes on from it. source: the
        reply that it was taken in place of, step: where another token was (`Message`)."""
        return self.put(
            Message(
                id=id or new_id(),
                conversation=conversation,
                parent=parent,
                role="assistant",
                text=text,
                created=datetime.now(UTC),
                source=source,
                step=step,
                generated=generated,
            )
        )

    def put(self, message: Message) -> Message:
        """Keep a message; the conversation goes on from it. One that is there already, and the
        same, is left; a reply that was unfinished may have become longer."""
        _check_texts(message.text)
        with self._connection.writing() as connection:
            head = head_of(connection, message.conversation)
            _put(connection, message)
            write_head(
                connection,
                replace(
                    head,
                    leaf=message.id,
                    title=head.title or _title(message),
                    changed=max(head.changed, datetime.now(UTC)),
                ),
            )
        return message

    def put_tree(self, tree: Tree) -> int:
        """Keep a whole conversation, or what one that is there lacks -> messages that were new.

        Raises InputError where a message of the same id is another one.
        """
        new = 0
        _check_texts(tree.head.title, tree.head.system or "", *(m.text for m in tree.messages))
        with self._connection.writing() as connection:
            known = heads(connection, "WHERE id = ?", (tree.head.id,))
            if not known:
                write_head(connection, replace(tree.head, leaf=None))
            for message in tree.messages:
                if message.conversation != tree.head.id:
                    raise InputError(f"the message {message.id} is of another conversation")
                before = connection.total_changes
                _put(connection, message)
                new += connection.total_changes > before
            if not known or new:
                leaf = known[0].leaf if known and known[0].leaf else tree.head.leaf
                write_head(connection, replace(known[0] if known else tree.head, leaf=leaf))
        return new

    def change(self, conversation: str, **fields: Any) -> Head:
        """title, model, settings, system, template: of what is said from now on."""
        if unknown := sorted(set(fields) - _CHANGEABLE):
            raise InputError(f"of a conversation {', '.join(unknown)} cannot be changed")
        _check_texts(*(value for value in fields.values() if isinstance(value, str)))
        return self._changed(conversation, **fields)

    def select(self, conversation: str, leaf: str | None) -> Head:
        """Go on from this message: another branch, or an earlier message. None: from nothing."""
        with self._connection.reading() as connection:
            head_of(connection, conversation)
            if leaf is not None:
                _check_there(connection, conversation, leaf)
        return self._changed(conversation, leaf=leaf)

    def delete(self, conversation: str) -> None:
        """With all its messages, and their words in the index; the bytes are overwritten."""
        with self._connection.writing() as connection:
            head_of(connection, conversation)
            own = "SELECT number FROM messages WHERE conversation = ?"
            numbers = [number for (number,) in connection.execute(own, (conversation,))]
            search.forget(connection, numbers)
            connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
        with self._connection.alone() as connection:  # nor does the log hold them
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Reading

    def head(self, conversation: str) -> Head:
        with self._connection.reading() as connection:
            return head_of(connection, conversation)

    def find(self, prefix: str) -> Head:
        """By its id, or by a beginning that only it has. Raises InputError otherwise."""
        with self._connection.reading() as connection:
            found = heads(
                connection,
                "WHERE substr(id, 1, length(?)) = ? ORDER BY changed DESC",
                (prefix, prefix),
            )
        exact = [head for head in found if head.id == prefix]
        if len(found) == 1 or exact:
            return (exact or found)[0]
        if not found or not prefix:
            raise InputError(
                f"there is no conversation {prefix!r} in {self.path}: "
                "`pellucid conversations list` lists them"
            )
        some = ", ".join(f"{head.id} ({head.title})" for head in found[:4])
        raise InputError(f"{prefix!r} may be {len(found)} conversations; write more of it: {some}")

    def newest(self) -> Head | None:
        """The one that was changed last, or None."""
        return next(iter(self.list(limit=1)), None)

    def list(self, limit: int | None = 50, before: str | None = None) -> tuple[Head, ...]:
        """Those changed last come first. limit: None is all. before: the id of the last one that
        was listed, for the next page."""
        condition: str = ""
        values: tuple[str, ...] = ()
        with self._connection.reading() as connection:
            if before is not None:
                last = head_of(connection, before)
                condition, values = "WHERE (changed, id) < (?, ?)", (instant(last.changed), last.id)
            found = heads(
                connection,
                f"{condition} ORDER BY changed DESC, id DESC LIMIT ?",
                (*values, -1 if limit is None else limit),
            )
        return tuple(found)

    def tree(self, conversation: str) -> Tree:
        with self._connection.reading() as connection:
            head = head_of(connection, conversation)
            own = "WHERE conversation = ? ORDER BY number"
            return Tree(head=head, messages=tuple(messages(connection, own, (conversation,))))

    def messages(
        self, conversation: str, after: str | None = None, limit: int | None = None
    ) -> tuple[Message, ...]:
        """Those of the tree, in the order in which they were kept, without their tokens. after: the
        id of the last one that was listed, for the next page. limit: None is all."""
        rest = "WHERE conversation = ? AND number > coalesce((SELECT number FROM messages "
        rest += "WHERE conversation = ? AND id = ?), 0) ORDER BY number LIMIT ?"
        with self._connection.reading() as connection:
            head_of(connection, conversation)
            if after is not None:
                _check_there(connection, conversation, after)
            values = (conversation, conversation, after, -1 if limit is None else limit)
            return tuple(messages(connection, rest, values, with_tokens=False))

    def message(self, id: str) -> Message:
        with self._connection.reading() as connection:
            return _message(connection, id)

    def path_to(self, leaf: str) -> tuple[Message, ...]:
        """From a root to this message."""
        way: list[Message] = []
        with self._connection.reading() as connection:
            at: str | None = leaf
            while at is not None:
                way.append(_message(connection, at))
                at = way[-1].parent
        return tuple(reversed(way))

    def search(self, text: str, limit: int = 50) -> tuple[Hit, ...]:
        """Messages of which every word of `text` is a part, in capitals or not; newest first."""
        words = [search.fold(word) for word in text.split()]
        if not words:
            raise InputError("say what to search for")
        _check_texts(text)
        try:
            with self._connection.writing() as connection:
                search.bring_up_to_date(connection)
        except StoreError:
            pass  # full, locked or for reading only: what is not in the index is looked through
        hits = []
        with self._connection.reading() as connection:
            condition, values = search.narrowed(connection, words)
            query = f"SELECT id, conversation, text FROM messages WHERE {condition}"
            found = connection.execute(f"{query} ORDER BY number DESC", values)
            for id, conversation, said in found:
                if search.holds(said, words):
                    head = head_of(connection, conversation)
                    hits.append(Hit(head, _message(connection, id)))
                    if len(hits) == limit:
                        break
        return tuple(hits)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """All of it as it is now, in another file, which is a store too. Whole or not at all."""
        if Path(path).resolve() == self.path.resolve():
            raise InputError(f"{path} is the store itself: name another file for the backup")
        with new_file(path) as partial, self._connection.alone() as connection:
            partial.chmod(0o600)
            try:
                with closing(sqlite3.connect(partial)) as copy:
                    connection.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")  # one file
            except sqlite3.Error as error:
                raise StoreError(f"cannot write {path}: {error}") from error

    def _changed(self, conversation: str, **fields: Any) -> Head:
        with self._connection.writing() as connection:
            head = head_of(connection, conversation)
            head = replace(head, changed=max(head.changed, datetime.now(UTC)), **fields)
            write_head(connection, head)
        return head


def _put(connection: sqlite3.Connection, message: Message) -> None:
    for name in (message.parent, message.source):
        if name is not None:
            _check_there(connection, message.conversation, name)
    if message.role == "assistant":
        role = connection.execute("SELECT role FROM messages WHERE id = ?", (message.parent,))
        if role.fetchone() != ("user",):
            raise InputError(f"the reply {message.id} must follow a message of a user")
    if (number := write_message(connection, message)) is not None:
        search.rewrite(connection, number, message.text)


def _check_there(connection: sqlite3.Connection, conversation: str, id: str) -> None:
    own = "SELECT 1 FROM messages WHERE conversation = ? AND id = ?"
    if connection.execute(own, (conversation, id)).fetchone() is None:
        raise InputError(f"there is no message {id!r} in the conversation {conversation}")


def _message(connection: sqlite3.Connection, id: str) -> Message:
    found = messages(connection, "WHERE id = ?", (id,))
    if not found:
        raise InputError(f"there is no message {id!r} in the store")
    return found[0]


def _title(message: Message) -> str:
    line = next((line.strip() for line in message.text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE else f"{line[: TITLE - 1]}…"


def _check_texts(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"half a character at {error.start} of a text") from error
