"""Speculation as an option: who drafts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["speculate_option", "with_speculation"]

Command = Callable[..., Any]


def with_speculation(command: Command) -> Command:
    """--speculate, inside `with_model`; hands on `speculation`, or None."""

    @wraps(command)
    def run(*, gpt: GPT, speculate: str | None, **rest: Any) -> Any:
        speculation = None if speculate is None else gpt.speculation(speculate)
        return command(gpt=gpt, speculation=speculation, **rest)

    return speculate_option("")(run)


def speculate_option(more: str) -> Callable[[Command], Command]:
    """--speculate. more: of its help."""
    return click.option(
        "--speculate",
        metavar="lookup|M",
        help="Several tokens from one pass, where that pays, and the same text: drafted by what "
        f"followed when the text last ended so, or by M, a smaller model of the same tokens.{more}",
    )
