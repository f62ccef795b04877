"""Large answers as JSON, written between the streams' steps: json.dumps would hold Python for as
long as it takes, and everybody's next token with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .turns import Turns

__all__ = ["to_json_in_turns"]

_NUMBERS = 512  # written at once, in a tenth of a millisecond or two
_PARTS = 4  # of those in one turn


def to_json_in_turns(value: Callable[[], Any], turns: Turns) -> bytes:
    """What `value` makes as JSON. Not for the event loop: it waits."""
    written: list[str] = []
    with turns.job():
        with turns.slice():
            parts = _parts(value())
        while True:
            with turns.slice():
                some = list(islice(parts, _PARTS))
            if not some:
                return "".join(written).encode("utf-8", "replace")
            written += some


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        opening = "{"
        for key, item in value.items():
            yield f"{opening}{_plain(str(key))}:"
            yield from _parts(item)
            opening = ","
        yield "{}" if opening == "{" else "}"
    elif not isinstance(value, list | tuple):
        yield _plain(value)
    else:
        opening = "["
        for low in range(0, len(value), _NUMBERS):
            some = value[low : low + _NUMBERS]
            if any(isinstance(item, (list, tuple, dict)) for item in some):
                for item in some:
                    yield opening
                    yield from _parts(item)
                    opening = ","
            else:
                yield opening + _plain(some)[1:-1]
                opening = ","
        yield "[]" if opening == "[" else "]"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
