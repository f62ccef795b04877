"""Texts as they lie on disk -> a stream of documents, in memory that does not grow with them.

A document is a text, or a conversation of turns. `.txt`, `.md` and files without an ending are
text; `.jsonl` and `.parquet` hold one document a row. All but `.parquet` may be compressed.
"""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import json
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import InputError

__all__ = ["Document", "File", "Sources", "cut", "find_files"]

PIECE = 1 << 16  # characters of a text that are in memory at a time, or few more
ROLES = ("system", "user", "assistant")

_BLOCK = 1 << 20  # bytes read at a time
_TEXT = ("", ".txt", ".md")
_ROWS = (".jsonl", ".ndjson")
_PARQUET = ".parquet"
_COMPRESSED: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": None,
}
# A place where no word of GPT-2's split, and so no token, lies across: before a space.
_BORDER = re.compile(r"\S(?=[ \n])")


class File(NamedTuple):
    """name: its path below the folder that was given, without that folder's own."""

    path: Path
    name: str
    size: int  # bytes on disk

    @property
    def kind(self) -> str:
        """The ending under that of a compression."""
        path = self.path
        return (path.with_suffix("") if path.suffix in _COMPRESSED else path).suffix.lower()


class Document(NamedTuple):
    """place: file and line. A text is `begin` and then the pieces of `rest`, each cut where no
    token lies across; `rest` must be read before the next document. Of a conversation, turns
    holds (role, text) and `begin` all of them in one."""

    place: str
    begin: str
    rest: Iterator[str]
    turns: tuple[tuple[str, str], ...] | None = None


class _BadRow(InputError):
    """A document that cannot be read, where the next one still can."""


def find_files(texts: Iterable[str | os.PathLike[str]], without: Path | None = None) -> list[File]:
    """Files, folders (all below them, hidden ones left out) and globs -> files, each once.

    without: a folder in which nothing is looked for. Of a folder only files of known endings
    are taken. Raises InputError for what does not exist, holds nothing, or has another ending.
    """
    found: dict[Path, File] = {}
    for text in texts:
        given = os.fspath(text)
        below = Path(given)
        if below.is_dir():
            paths = sorted(path for path in below.rglob("*") if _is_taken(path, below, without))
        elif below.exists():
            paths = [below]
        else:
            paths = sorted(Path(match) for match in glob.glob(given, recursive=True))
            paths = [path for path in paths if path.is_file()]
        if not paths:
            what = "holds no text" if below.is_dir() else "does not exist"
            raise InputError(f"{given} {what}: give files, folders or globs of {_known()}")
        for path in paths:
            name = path.relative_to(below).as_posix() if below.is_dir() else path.name
            found.setdefault(path.resolve(), File(path, name, path.stat().st_size))
    for file in found.values():
        if not file.path.is_file():
            raise InputError(f"{file.path} is no file")
        if file.kind not in (*_TEXT, *_ROWS, _PARQUET):
            raise InputError(f"{file.path}: {file.kind} is not read; give {_known()}")
        if file.kind == _PARQUET and file.path.suffix.lower() != _PARQUET:
            raise InputError(f"{file.path}: unpack it first, Parquet is compressed inside")
    return list(found.values())


def _is_taken(path: Path, folder: Path, without: Path | None) -> bool:
    kind = File(path, "", 0).kind
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if hidden or not kind or kind not in (*_TEXT, *_ROWS, _PARQUET) or not path.is_file():
        return False
    return without is None or not path.resolve().is_relative_to(without.resolve())


def _known() -> str:
    return ".txt, .md, .jsonl (also .gz, .bz2, .xz, .zst) or .parquet"


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


@dataclass
class Sources:
    """What to read, and how. `documents` may be asked for several times.

    text_field, turns_field: the field of a row that holds its text, or its turns; by default
    "turns" or "messages" where there is one, else "text". split_at: what ends a document in a
    text file: "blank" lines, each "line", or lines that say this; by default the file's end.
    skip_bad: rows, or whole text files, that cannot be read are counted, not an error. limit:
    at most so many documents.
    """

    files: list[File]
    text_field: str | None = None
    turns_field: str | None = None
    split_at: str | None = None
    skip_bad: bool = False
    limit: int | None = None
    on_read: Callable[[int], None] | None = None  # told the bytes read, on disk
    n_bad: int = field(default=0, init=False)
    n_empty: int = field(default=0, init=False)
    first_bad: str | None = field(default=None, init=False)
    n_documents: dict[str, int] = field(default_factory=dict, init=False)  # by file name

    @property
    def n_bytes(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    def documents(self) -> Iterator[Document]:
        """In the files' order; those without a word are left out and counted.

        Raises InputError naming the file, and the line, that cannot be read.
        """
        self.n_bad = self.n_empty = 0
        self.first_bad, self.n_documents = None, {}
        before, count = 0, 0
        for file in self.files:
            with _reading(file.path):
                for document in self._read(file, before):
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

    def _read(self, file: File, before: int) -> Iterator[Document]:
        if file.kind == _PARQUET:
            yield from self._parquet(file, before)
            return
        if file.kind in _TEXT and self.skip_bad and not self._is_text(file):
            return
        with file.path.open("rb") as raw, _opened(file.path, raw) as plain:

            def blocks() -> Iterator[str]:
                for text in _decoded(plain, file.path):
                    self._tell(before + raw.tell())
                    yield text

            if file.kind in _ROWS:
                for number, line in enumerate(plain, 1):
                    self._tell(before + raw.tell())
                    if line.strip():
                        yield from self._row(line, f"{file.path}, line {number}")
            elif self.split_at is None:
                yield _text(str(file.path), blocks())
            else:
                for number, section in _sections(blocks(), self.split_at):
                    yield _text(f"{file.path}, line {number}", [section])

    def _tell(self, n_read: int) -> None:
        if self.on_read is not None:
            self.on_read(n_read)

    def _is_text(self, file: File) -> bool:
        """Looks through a file; one that is no UTF-8 is counted as bad."""
        with file.path.open("rb") as raw, _opened(file.path, raw) as plain:
            try:
                for _ in _decoded(plain, file.path):
                    pass
            except _BadRow as error:
                self._skip(error)
                return False
        return True

    def _skip(self, error: _BadRow) -> None:
        if not self.skip_bad:
            raise error
        self.n_bad += 1
        self.first_bad = self.first_bad or str(error)

    def _row(self, line: bytes, place: str) -> Iterator[Document]:
        """One line of JSON, or none when it is bad and may be."""
        try:
            yield self._document(_json(line, place), place)
        except _BadRow as error:
            self._skip(error)

    def _parquet(self, file: File, before: int) -> Iterator[Document]:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise InputError(
                f'{file.path}: Parquet needs pyarrow: pip install "pellucid[train]"'
            ) from error
        try:
            with parquet.ParquetFile(file.path) as table:
                wanted = {*self._turns_fields(), self.text_field or "text"}
                there = [name for name in table.schema_arrow.names if name in wanted]
                if not there:
                    names = ", ".join(table.schema_arrow.names)
                    raise InputError(f"{file.path} has no {self._wanted()}: it has {names}")
                number = 0
                for batch in table.iter_batches(256, columns=there):
                    for entry in batch.to_pylist():
                        number += 1
                        place = f"{file.path}, row {number}"
                        try:
                            yield self._document(entry, place)
                        except _BadRow as error:
                            self._skip(error)
                    self._tell(before + file.size * number // table.metadata.num_rows)
        except pyarrow.ArrowException as error:
            raise InputError(f"cannot read {file.path}: {error}") from error

    def _document(self, entry: Mapping[str, Any], place: str) -> Document:
        """A row -> its document. Raises _BadRow."""
        for name in self._turns_fields():
            if entry.get(name) is not None:
                return _conversation(place, name, entry[name])
        text = entry.get(self.text_field or "text")
        if not isinstance(text, str):
            raise _BadRow(
                f"{place} has no {self._wanted()}: it has {', '.join(entry) or 'nothing'}"
            )
        return _text(place, [_whole(text, place)])

    def _turns_fields(self) -> tuple[str, ...]:
        if self.turns_field is not None:
            return (self.turns_field,)
        return () if self.text_field is not None else ("turns", "messages")

    def _wanted(self) -> str:
        if self.text_field or self.turns_field:
            return " or ".join(f'"{name}"' for name in (self.text_field, self.turns_field) if name)
        return '"text", "turns" or "messages"'


def _text(place: str, blocks: Iterable[str]) -> Document:
    pieces = cut(blocks)
    return Document(place, next(pieces, ""), pieces)


def _conversation(place: str, name: str, entry: Any) -> Document:
    turns = []
    for turn in entry if isinstance(entry, list) else [entry]:
        role = turn.get("role") if isinstance(turn, dict) else None
        text = turn.get("text", turn.get("content")) if isinstance(turn, dict) else None
        if role not in ROLES or not isinstance(text, str):
            raise _BadRow(
                f'{place}: each of "{name}" must have a "role" among {", ".join(ROLES)} and a '
                f'"text" or "content", not {str(turn)[:80]}'
            )
        turns.append((role, _whole(text, place)))
    words = any(text.strip() for _, text in turns)
    whole = "".join(f"{role}\0{text}\0" for role, text in turns)
    return Document(place, whole if words else "", iter(()), tuple(turns))


def _whole(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise _BadRow(f"{place}: half a character at {error.start} of its text") from error
    return text


def _json(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _BadRow(f"{place} is not UTF-8 text: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _BadRow(f"{place} is not JSON: {error}") from error
    if not isinstance(entry, dict):
        raise _BadRow(f"{place} is not a JSON object")
    return entry


def _sections(blocks: Iterable[str], split_at: str) -> Iterator[tuple[int, str]]:
    """-> (number of its first line, text without the line ends around it)"""
    begin, lines = 1, list[str]()
    for number, line in enumerate(_lines(blocks), 1):
        if split_at == "line":
            lines, ends = [line] if line.strip() else [], True
        else:
            ends = line.strip() == ("" if split_at == "blank" else split_at)
            if not ends:
                lines.append(line)
        if ends:
            if lines:
                yield (number if split_at == "line" else begin), "\n".join(lines).strip("\n")
            begin, lines = number + 1, []
    if lines:
        yield begin, "\n".join(lines).strip("\n")


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    """Without their ends."""
    waiting = list[str]()
    for block in blocks:
        first, *others = block.split("\n")
        waiting.append(first)
        if others:
            yield "".join(waiting)
            yield from others[:-1]
            waiting = [others[-1]]
    if last := "".join(waiting):
        yield last


def _decoded(plain: IO[bytes], path: Path) -> Iterator[str]:
    """UTF-8 to text, block by block; every kind of line end becomes \\n."""
    utf_8 = codecs.getincrementaldecoder("utf-8-sig")()
    decoder = io.IncrementalNewlineDecoder(utf_8, translate=True)
    line, block = 1, b"\n"
    while block:
        with _reading(path):
            block = plain.read(_BLOCK)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            wrong = f"{error.reason}, byte {error.object[error.start]:#04x}"
            raise _BadRow(f"{path}, line {line} is not UTF-8 text: {wrong}") from error
        line += block.count(b"\n")
        if text:
            yield text


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from error


def _opened(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """The uncompressed bytes of an open file."""
    if path.suffix not in _COMPRESSED:
        return raw
    if path.suffix != ".zst":
        unpacked: IO[bytes] = _COMPRESSED[path.suffix](raw)
        return unpacked
    for module in ("compression.zstd", "zstandard"):  # Python's own from 3.14 on
        try:
            unpacked = import_module(module).open(raw, "rb")
        except ImportError:
            continue
        return unpacked
    raise InputError(f"{path}: unpack it first (zstd -d), or pip install zstandard")
