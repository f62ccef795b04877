"""`pellucid walk`: the talk's way from text to predicted token, with the model's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .options import with_model
from .output import Output, with_output
from .text import read_text

if TYPE_CHECKING:
    from rich.console import Console

    from ..gpt import GPT

__all__ = ["TALK", "command", "walk"]

TALK = "The power clapper"


@click.command("walk")
@click.argument("text", default=TALK)
@with_model
@click.option("--layer", type=int, default=0, show_default=True, help="Which layer to open.")
@click.option("--head", type=int, default=0, show_default=True, help="Which of its heads.")
@click.option("--position", type=int, default=-1, show_default=True, help="Whose row to follow.")
@click.option("--max-tokens", type=click.IntRange(0), help="Predict at most so many tokens.")
@with_output
def command(
    text: str,
    gpt: GPT,
    layer: int,
    head: int,
    position: int,
    max_tokens: int | None,
    output: Output,
) -> None:
    """Walk TEXT through the model, step by step, with live numbers and pictures. TEXT - reads
    standard input.

    Negative --layer, --head and --position count from the end.
    """
    from .. import inspect

    text = read_text(text)
    way = inspect.walk(gpt, text, layer=layer, head=head, position=position, max_tokens=max_tokens)
    output.show(way, text if len(text) <= 60 else f"{text[:59]}…")


def walk(
    gpt: GPT, text: str | Sequence[int], console: Console, *, max_tokens: int | None = None
) -> None:
    """Print the walk of a text, or of ids."""
    from .. import inspect

    console.print(inspect.walk(gpt, text, max_tokens=max_tokens))
