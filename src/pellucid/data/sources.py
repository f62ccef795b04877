"""Many files -> one stream of documents, in memory that does not grow with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .documents import (
    Document,
    Shape,
    columns,
    document_of,
    preference_of,
    shapes,
    text_document,
)
from .files import ROWS, BadDocument, File, OnRead, blocks, check_encoding
from .preferences import Preference
from .rows import parts, rows

__all__ = ["Sources", "read_text"]


@dataclass(kw_only=True)
class Sources:
    """What to read, and how. `documents` may be asked for several times.

    text_field, turns_field: the field of a row that holds its text, or its turns; by default a
    row is recognised by its keys (see `documents.SHAPES`). split_at: what ends a document in a
    text file: "blank" lines, each "line", or lines that say this; by default the file's end.
    skip_bad: rows, or whole text files, that cannot be read are counted, not an error. limit:
    at most so many documents. learn_all: everybody's words are to be learned, so that a turn that
    its file withholds makes the row bad.
    """

    files: list[File]
    text_field: str | None = None
    turns_field: str | None = None
    split_at: str | None = None
    skip_bad: bool = False
    limit: int | None = None
    learn_all: bool = False
    on_read: OnRead | None = None  # told the bytes read, on disk, of all files
    n_bad: int = field(default=0, init=False)
    n_empty: int = field(default=0, init=False)
    first_bad: list[str] = field(default_factory=list, init=False)  # the first three
    n_documents: dict[str, int] = field(default_factory=dict, init=False)  # by file name

    @property
    def n_bytes(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return shapes(self.text_field, self.turns_field)

    def documents(self) -> Iterator[Document]:
        """In the files' order; those without a word are left out and counted.

        Raises InputError naming the file, and the line, that cannot be read.
        """
        self._begin()
        before, count = 0, 0
        for file in self.files:
            for document in self._documents_of(file, before):
                if not document.begin.strip():
                    self.n_empty += 1
                    continue
                if self.limit is not None and count == self.limit:
                    return
                count += 1
                self.n_documents[file.name] = self.n_documents.get(file.name, 0) + 1
                yield document
            before += file.size
            self._tell(before)

    def preferences(self) -> Iterator[Preference]:
        """The pairs of replies in files of rows, in their order. Raises as `documents` does."""
        self._begin()
        for file in self.files:
            for row in rows(file.path, on_bad=self.skip):
                try:
                    yield preference_of(row)
                except BadDocument as error:
                    self.skip(error)

    def skip(self, error: BadDocument) -> None:
        """Count a bad document where that is wanted; else raise it."""
        if not self.skip_bad:
            raise BadDocument(f"{error} (--skip-bad leaves such rows out)") from error
        self.n_bad += 1
        if len(self.first_bad) < 3:
            self.first_bad.append(str(error))

    def _begin(self) -> None:
        self.n_bad = self.n_empty = 0
        self.first_bad, self.n_documents = [], {}

    def _tell(self, n_read: int) -> None:
        if self.on_read is not None:
            self.on_read(n_read)

    def _documents_of(self, file: File, before: int) -> Iterator[Document]:
        def on_read(n_read: int) -> None:
            self._tell(before + n_read)

        if file.kind not in ROWS:
            yield from self._texts(file, on_read)
            return
        table = self.shapes
        for row in rows(file.path, columns=columns(table), on_bad=self.skip, on_read=on_read):
            try:
                document = document_of(row, table)
                if document.withheld and self.learn_all:
                    raise BadDocument(
                        f"{row.place} says of a turn that it is not learned, and --learn-all "
                        "learns all of them"
                    )
                yield document
            except BadDocument as error:
                self.skip(error)

    def _texts(self, file: File, on_read: OnRead) -> Iterator[Document]:
        """Of a text file. What is not UTF-8 in it makes the whole of it bad."""
        if self.skip_bad:
            try:
                for _ in _checked(file.path):
                    pass
            except BadDocument as error:
                self.skip(error)
                return
        text = _checked(file.path, on_read)
        if self.split_at is None:
            yield text_document(str(file.path), text)
        else:
            for number, part in parts(text, self.split_at):
                yield text_document(f"{file.path}, line {number}", [part])


def read_text(path: str | os.PathLike[str]) -> str:
    """A whole text file. Raises InputError where it cannot be read."""
    return "".join(_checked(Path(path)))


def _checked(path: Path, on_read: OnRead | None = None) -> Iterator[str]:
    line = 1
    for block in blocks(path, on_read):
        check_encoding(block, path, line)
        line += block.count("\n")
        yield block
