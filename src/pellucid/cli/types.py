"""Parameter types: how numbers, sizes, tokens and heads are written on the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

__all__ = ["BYTES", "INDICES", "PART", "TOKEN"]

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType


class _Indices(_ParamType):
    """ "0,2,4-6,-1" -> [0, 2, 4, 5, 6, -1]"""

    name = "N"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[int]:
        if isinstance(value, list):
            return value
        indices: list[int] = []
        for part in str(value).split(","):
            if (span := re.fullmatch(r"\s*(\d+)-(\d+)\s*", part)) and len(span[2]) < 7:
                if int(span[1]) > int(span[2]):
                    self.fail(f"{part} runs backwards", param, ctx)
                indices += range(int(span[1]), int(span[2]) + 1)
            elif re.fullmatch(r"\s*-?\d{1,9}\s*", part):
                indices.append(int(part))
            else:
                self.fail(f"{part!r} is no number; write such as 0,2,4-6 or -1", param, ctx)
        return indices


class _Bytes(_ParamType):
    """ "256MiB" -> 268435456"""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        size = r"\s*(\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})\s*(?:([kmgt])i?)?b?\s*"
        match = re.fullmatch(size, str(value).lower())
        if match is None:
            self.fail(f"{value!r} is no size; write such as 256MiB or 2GiB", param, ctx)
        return int(float(match[1]) * 1024 ** (" kmgt".index(match[2] or " ")))


class _Token(_ParamType):
    """A token's text, or #id -> str or int"""

    name = "TOKEN"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | int:
        if isinstance(value, str) and re.fullmatch(r"#\d{1,9}", value):
            return int(value[1:])
        return str(value)


class _Part(_ParamType):
    """ "3.7" -> (3, 7), layer and head"""

    name = "LAYER.HEAD"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"[Ll]?(-?\d{1,9})[.Hh](-?\d{1,9})", str(value))
        if match is None:
            self.fail(f"{value!r} is no head; write 3.7 for head 7 of layer 3", param, ctx)
        return int(match[1]), int(match[2])


INDICES, BYTES, TOKEN, PART = _Indices(), _Bytes(), _Token(), _Part()
