"""Pairs of texts, one of which is written as the other: what an encoder-decoder learns from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .files import BadDocument, find_files
from .rows import Row, rows
from .sources import Sources
from .turns import string

__all__ = ["FileTranslations", "Translation", "read_translations"]

_COLUMNS = ("source", "target")


class Translation(NamedTuple):
    """A text, and what is to be written for it."""

    source: str
    target: str


class FileTranslations(NamedTuple):
    """n_bad: rows that are no pairs, and were left out."""

    pairs: list[Translation]
    n_bad: int


def read_translations(path: Path, *, skip_bad: bool = False) -> FileTranslations:
    """The pairs of a file, or a folder, of rows: JSON lines with "source" and "target", or TSV and
    CSV whose first line names these columns.

    skip_bad: rows that are no pairs are counted. Raises InputError that names the first of them
    otherwise.
    """
    sources = Sources(files=find_files([path]), skip_bad=skip_bad)
    pairs = []
    for file in sources.files:
        for row in rows(file.path, columns=_COLUMNS, on_bad=sources.skip):
            try:
                pairs.append(_pair(row))
            except BadDocument as error:
                sources.skip(error)
    return FileTranslations(pairs, sources.n_bad)


def _pair(row: Row) -> Translation:
    if missing := [key for key in _COLUMNS if key not in row.fields]:
        known = ", ".join(map(str, list(row.fields)[:4]))
        raise BadDocument(
            f'{row.place} has no "{missing[0]}" (it has: {known:.80}); a pair is '
            '{"source": ..., "target": ...}, and the first line of a table is source, target'
        )
    source, target = (string(row, key) for key in _COLUMNS)
    if not source.strip() or not target.strip():
        raise BadDocument(f"{row.place}: the source or the target is empty")
    return Translation(source, target)
