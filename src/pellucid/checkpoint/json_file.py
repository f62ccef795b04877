"""JSON from strangers: small, with no key twice, nothing that one reader takes and another not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CheckpointError
from .checkpoint import open_file

__all__ = ["parse_object", "read_bytes", "read_object"]

MOST_BYTES = 1 << 20  # GPT-2 XL's index has 60 KB; a MiB of brackets stays below 50 MB of memory


def read_object(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a file of at most `most` bytes. Raises CheckpointError."""
    return parse_object(read_bytes(path, most), str(path))


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The whole of a regular file of at most `most` bytes."""
    with open_file(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise CheckpointError(f"{path} is longer than {most} bytes; no GPT-2 needs that")
    return data


def parse_object(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object that `data` holds. Raises CheckpointError naming what is wrong.

    Refused beyond what `json` refuses: a key twice, NaN and Infinity, whole numbers of more than
    20 digits, -0, strings that are not Unicode (a lone surrogate), and all but an object.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(items)
        if len(table) != len(items):
            seen: set[str] = set()
            twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise CheckpointError(f"{source}: the key {_short(twice)} occurs twice")
        for key, value in items:
            key.encode()
            if isinstance(value, str):
                value.encode()
        return table

    def whole(digits: str) -> int:
        if len(digits) > 20:
            raise CheckpointError(f"{source}: the number {digits[:20]}... is too long")
        if digits == "-0":  # a whole number to Python, a fraction to the format's own reader
            raise CheckpointError(f"{source}: -0 is not a whole number")
        return int(digits)

    def constant(name: str) -> NoReturn:
        raise CheckpointError(f"{source}: {name} is not a JSON number")

    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=pairs, parse_int=whole, parse_constant=constant)
    except UnicodeError as error:
        raise CheckpointError(f"{source} is not UTF-8 text: {error}") from error
    except RecursionError as error:
        raise CheckpointError(f"{source} is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{source} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{source} is not a JSON object but {type(value).__name__}")
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
