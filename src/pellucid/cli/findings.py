"""What the verbs that look inside share: their options, and how a finding is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..files import new_file, write_file
from .options import console

if TYPE_CHECKING:
    from ..inspect import Finding

__all__ = [
    "BYTES",
    "INDICES",
    "PART",
    "TOKEN",
    "new_file",
    "only",
    "output_options",
    "places",
    "show",
    "target_options",
]


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
        found: list[int] = []
        for part in str(value).split(","):
            if (span := re.fullmatch(r"\s*(\d+)-(\d+)\s*", part)) and len(span[2]) < 7:
                if int(span[1]) > int(span[2]):
                    self.fail(f"{part} runs backwards", param, ctx)
                found += range(int(span[1]), int(span[2]) + 1)
            elif re.fullmatch(r"\s*-?\d{1,9}\s*", part):
                found.append(int(part))
            else:
                self.fail(f"{part!r} is no number; write such as 0,2,4-6 or -1", param, ctx)
        return found


class _Bytes(_ParamType):
    """ "256MiB" -> 268435456"""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*([\d.]+)\s*(?:([kmgt])i?)?b?\s*", str(value).lower())
        try:
            assert match is not None
            return int(float(match[1]) * 1024 ** (" kmgt".index(match[2] or " ")))
        except (AssertionError, ValueError, OverflowError):
            self.fail(f"{value!r} is no size; write such as 256MiB or 2GiB", param, ctx)


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


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json and --html: pass them on to `show`."""
    for option in (
        click.option(
            "--html", type=click.Path(dir_okay=False), help="Also one page for a browser."
        ),
        click.option("--json", "as_json", is_flag=True, help="Every number, as JSON."),
    ):
        command = option(command)
    return command


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--target, --versus, --position."""
    for option in (
        click.option("--position", type=int, default=-1, help="After which (default: the last)."),
        click.option(
            "--versus", type=TOKEN, help="The token that it is held against: the difference."
        ),
        click.option(
            "--target", type=TOKEN, help="The token, or #id (default: the likeliest). Mind spaces."
        ),
    ):
        command = option(command)
    return command


def places(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--layer, --head, --position with numbers such as 0,2,4-6; negative from the end."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = click.option(
                f"--{name}",
                f"--{name}s",
                f"{name}s",
                type=INDICES,
                help=f"Only these {name}s: 0,2,4-6 or -1, the last.",
            )(command)
        return command

    return decorate


def only(numbers: list[int] | None, flag: str) -> int | None:
    """One number where only one has a meaning. Raises a usage error for more."""
    if numbers is not None and len(numbers) != 1:
        raise click.UsageError(f"{flag} takes one number here, not {len(numbers)}")
    return None if numbers is None else numbers[0]


def show(
    finding: Finding,
    title: str,
    *,
    as_json: bool,
    html: str | None,
    position: int = -1,
) -> None:
    """To the terminal, or as JSON, and to an HTML page.

    position: whose row, where a picture shows one at a time.
    """
    if html is not None:
        from ..inspect.page import page

        write_file(html, page(finding, title=title).encode())
    if as_json:
        click.echo(json.dumps(finding.to_dict(), ensure_ascii=False))
        return
    from ..inspect.terminal import Picture

    console().print(Picture(finding, position=position))
    if html is not None:
        console(stderr=True).print(f"Wrote {html}", style="dim", markup=False)
