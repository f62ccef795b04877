"""Speculation as an option: who drafts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["with_speculation"]

Command = Callable[..., Any]


def with_speculation(command: Command) -> Command:
    """--speculate, inside `with_model`; hands on `speculation`, or None."""

    @wraps(command)
    def run(*, gpt: GPT, speculate: str | None, **rest: Any) -> Any:
        speculation = None if speculate is None else gpt.speculation(_drafter(gpt, speculate))
        return command(gpt=gpt, speculation=speculation, **rest)

    return click.option(
        "--speculate",
        metavar="lookup|M",
        help="Several tokens from one pass, where that pays, and the same text: drafted by what "
        "followed when the text last ended so, or by M, a smaller model of the same tokens.",
    )(run)


def _drafter(gpt: GPT, name: str) -> str | GPT:
    if name == "lookup":
        return name
    from .. import gpt as models

    return models.load(name, backend=gpt.model.backend.name)
