"""Reading what a model is measured on: text or JSON lines, also compressed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["guess_kind", "json_lines", "read_text", "stem"]

_OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}


def stem(path: str | os.PathLike[str]) -> Path:
    """The name without the ending of its compression."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in _OPENERS else path


def read_text(path: str | os.PathLike[str]) -> str:
    """A whole file, line ends as they are. Raises InputError when it cannot be read."""
    return "".join(_lines(Path(path)))


def json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """-> (line number, object); empty lines are skipped. Raises InputError for the first line
    that is no JSON object."""
    for number, line in enumerate(_lines(Path(path)), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(entry, dict):
            raise InputError(f"{path}, line {number} is not a JSON object")
        yield number, entry


def guess_kind(path: str | os.PathLike[str]) -> str:
    """perplexity, lambada, hellaswag or blimp: from the fields of the first line, or the name."""
    plain = stem(path)
    if plain.suffix in (".jsonl", ".json"):
        first = next(iter(json_lines(path)), (0, {}))[1]
        if "sentence_good" in first:
            return "blimp"
        if "endings" in first:
            return "hellaswag"
    return "lambada" if "lambada" in plain.name.lower() else "perplexity"


def _lines(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".zst":
        raise InputError(f"{path}: unpack it first (zstd -d); .xz, .gz and .bz2 are read directly")
    try:
        opener = _OPENERS.get(path.suffix, open)
        with opener(path, "rt", encoding="utf-8", newline="\n") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from error
    except (EOFError, lzma.LZMAError, OSError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
