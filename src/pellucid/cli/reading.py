"""Which rows and parts of files are documents: the same options wherever texts are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["with_reading"]

_OPTIONS = (
    click.option("--text-field", metavar="NAME", help="The field of a row that holds its text."),
    click.option("--turns-field", metavar="NAME", help="The field of a row that holds its turns."),
    click.option(
        "--split-at",
        metavar="LINE",
        help='A text file\'s documents end at lines that say this; or "blank" lines, or each '
        '"line".',
    ),
    click.option("--skip-bad", is_flag=True, help="Count rows that cannot be read, and go on."),
)


def with_reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hands on text_field, turns_field, split_at and skip_bad, as `data.sources.Sources` takes
    them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
