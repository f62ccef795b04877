"""The text that a verb is about: an argument, or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

__all__ = ["read_text", "with_text"]

Command = Callable[..., Any]


def with_text(command: Command) -> Command:
    """The argument TEXT, or standard input where it is - or missing; hands on `text`."""

    @wraps(command)
    def run(*, text: str | None, **rest: Any) -> Any:
        return command(text=read_text(text), **rest)

    return click.argument("text", required=False)(run)


def read_text(text: str | None) -> str:
    """The argument TEXT, or standard input where it is - or missing.

    Raises a usage error where there is none, or where its bytes are not UTF-8.
    """
    if text is None or text == "-":
        if sys.stdin.isatty():
            raise click.UsageError("give a text, or - to read standard input")
        try:
            return sys.stdin.buffer.read().decode("utf-8-sig").removesuffix("\n")
        except UnicodeDecodeError as error:
            wrong = f"byte {error.object[error.start]:#04x} at {error.start}"
            raise click.UsageError(f"standard input is not UTF-8 text: {wrong}") from error
    try:
        text.encode()
    except UnicodeEncodeError as error:
        try:
            return os.fsencode(text).decode()  # it was UTF-8, the locale is not
        except UnicodeError:
            what = f"the text is not UTF-8, from character {error.start}"
            raise click.UsageError(what) from error
    return text
