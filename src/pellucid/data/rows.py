"""A file of rows, of whatever kind -> each row's fields, and the place where it stands."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ..errors import InputError
from .files import (
    PARQUET,
    ROW_ENDINGS,
    BadDocument,
    OnRead,
    blocks,
    check_encoding,
    kind,
    lines,
    reading,
)

__all__ = ["Row", "parts", "refuse", "rows"]

_LONGEST_CELL = (1 << 31) - 1  # of a CSV file; the module's own limit is 131,072 characters
_SPACE = re.compile(r"\s*")


class Row(NamedTuple):
    """place: file and line, or row."""

    place: str
    fields: Mapping[str, Any]


def refuse(error: BadDocument) -> NoReturn:
    raise error


def rows(
    path: str | os.PathLike[str],
    *,
    columns: Collection[str] = (),
    on_bad: Callable[[BadDocument], None] = refuse,
    on_read: OnRead | None = None,
) -> Iterator[Row]:
    """JSON lines, JSON (an array, or objects one after the other), CSV with a header, Parquet.

    columns: those of a Parquet file that are read, where it has any of them (default: all).
    on_bad: told of a row that cannot be read; what it raises ends the reading (default: the
    error itself). Lines of JSON are read one by one, Parquet in batches, a .json file whole.
    Raises InputError naming the file, and the line, that cannot be read.
    """
    path = Path(path)
    if kind(path) not in _READERS:
        raise InputError(f"{path} is no file of rows; give {ROW_ENDINGS}")
    yield from _READERS[kind(path)](
        _Reading(path=path, columns=columns, on_bad=on_bad, on_read=on_read)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One reading of one file."""

    path: Path
    columns: Collection[str]
    on_bad: Callable[[BadDocument], None]
    on_read: OnRead | None

    def blocks(self) -> Iterator[str]:
        return blocks(self.path, self.on_read)

    def place(self, line: int) -> str:
        return f"{self.path}, line {line}"


def _json_lines(of: _Reading) -> Iterator[Row]:
    for number, line in enumerate(lines(of.blocks()), 1):
        if not line.strip():
            continue
        try:
            check_encoding(line, of.path, number)
            yield _object(json.loads(line), of.place(number))
        except BadDocument as error:
            of.on_bad(error)
        except (ValueError, RecursionError) as error:
            several = number == 1 and line.strip()[-1:] in ("[", "{", ",")
            hint = ". It stands on one line; JSON on several is named .json" if several else ""
            of.on_bad(BadDocument(f"{of.place(number)} is not JSON: {error}{hint}"))


def _object(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise BadDocument(f"{place} is not a JSON object")
    return Row(place, value)


def _json(of: _Reading) -> Iterator[Row]:
    """An array of objects, or objects one after the other, with or without line ends between."""
    text = "".join(of.blocks())
    check_encoding(text, of.path, 1)
    decoder = json.JSONDecoder()
    at = _after_space(text, 0)
    array = text.startswith("[", at)
    at = _after_space(text, at + array)
    before, line = 0, 1
    while at < len(text) and not (array and text[at] == "]"):
        line += text.count("\n", before, at)
        before = at
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{of.place(line)} is not JSON: {error}") from error
        try:
            yield _object(value, of.place(line))
        except BadDocument as error:
            of.on_bad(error)
        at = _after_space(text, end)
        if array and text.startswith(",", at):
            at = _after_space(text, at + 1)
        elif array and at < len(text) and text[at] != "]":
            line += text.count("\n", before, at)
            raise InputError(f"{of.place(line)} is not JSON: its array does not go on, nor end")
    if array and at >= len(text):
        raise InputError(f"{of.path} is not JSON: its array has no end")
    if array and text[at + 1 :].strip():
        raise InputError(f"{of.path} is not JSON: text follows its array")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _csv(of: _Reading) -> Iterator[Row]:
    """The first line names the columns (RFC 4180). A cell may hold line ends, in quotes."""
    csv.field_size_limit(_LONGEST_CELL)
    ended = (f"{line}\n" for line in lines(of.blocks()))
    table = csv.reader(ended, delimiter="\t" if kind(of.path) == ".tsv" else ",", strict=True)
    names: list[str] = []
    begin = 1
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            raise InputError(f"{of.place(begin)} is not CSV: {error}") from error
        if cells is None:
            return
        place, begin, first = of.place(begin), table.line_num + 1, begin
        if not cells:
            continue
        try:
            check_encoding("\n".join(cells), of.path, first)
            if names and len(cells) != len(names):
                raise BadDocument(
                    f"{place} has {len(cells)} cells; the first line names {len(names)}"
                )
        except BadDocument as error:
            of.on_bad(error)
            continue
        if names:
            yield Row(place, dict(zip(names, cells, strict=True)))
        else:
            names = [name.strip() for name in cells]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"{place} names two columns {twice!r}: give each its own name")


def _parquet(of: _Reading) -> Iterator[Row]:
    if of.path.suffix.lower() != PARQUET:
        raise InputError(f"{of.path}: unpack it first, Parquet is compressed inside")
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f'{of.path}: Parquet needs pyarrow: pip install "pellucid[train]" ({error})'
        ) from error
    try:
        with reading(of.path), parquet.ParquetFile(of.path) as table:
            names = table.schema_arrow.names
            wanted = [name for name in names if name in of.columns] or names
            number, size = 0, of.path.stat().st_size
            for batch in table.iter_batches(256, columns=wanted):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{of.path}, row {number}", fields)
                if of.on_read is not None:
                    of.on_read(size * number // table.metadata.num_rows)
    except pyarrow.ArrowException as error:
        raise InputError(f"cannot read {of.path}: {error}") from error


_READERS: dict[str, Callable[[_Reading], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    PARQUET: _parquet,
}


def parts(blocks: Iterable[str], split_at: str) -> Iterator[tuple[int, str]]:
    """A text file's documents -> (number of its first line, text without the line ends around).

    split_at: what ends one: "blank" lines, each "line", or lines that say this.
    """
    begin, taken = 1, list[str]()
    for number, line in enumerate(lines(blocks), 1):
        if split_at == "line":
            taken, ends = [line] if line.strip() else [], True
        else:
            ends = line.strip() == ("" if split_at == "blank" else split_at)
            if not ends:
                taken.append(line)
        if ends:
            if taken:
                yield (number if split_at == "line" else begin), "\n".join(taken).strip("\n")
            begin, taken = number + 1, []
    if taken:
        yield begin, "\n".join(taken).strip("\n")
