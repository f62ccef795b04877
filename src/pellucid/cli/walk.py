"""`pellucid walk`: the talk's way from text to predicted token, with the model's own numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .options import with_model
from .output import Output, console, with_output
from .stepping import step_through
from .text import Prompt, read_text, with_chat
from .translating import or_translation_walked, with_beams

if TYPE_CHECKING:
    from rich.console import Console

    from ..gpt import GPT

__all__ = ["TALK", "command", "walk"]

TALK = "The power clapper"


@click.command("walk")
@click.argument("text", default=TALK)
@or_translation_walked
@with_chat
@with_model
@click.option("--layer", type=int, default=0, show_default=True, help="Which layer to open.")
@click.option("--head", type=int, default=0, show_default=True, help="Which of its heads.")
@click.option("--position", type=int, default=-1, show_default=True, help="Whose row to follow.")
@click.option("--max-tokens", type=click.IntRange(0), help="Predict at most so many tokens.")
@click.option("--step", is_flag=True, help="Step by step: Enter goes on, a to the end, q leaves.")
@with_beams
@with_output
def command(
    text: str,
    chat: bool,
    gpt: GPT,
    layer: int,
    head: int,
    position: int,
    max_tokens: int | None,
    step: bool,
    output: Output,
) -> None:
    """Walk TEXT through the model, step by step, with live numbers and pictures. TEXT - reads
    standard input.

    Negative --layer, --head and --position count from the end.
    """
    from .. import inspect

    if step:
        _check_terminal(output)
    prompt = Prompt(text=read_text(text), chat=chat)
    way = inspect.walk(
        gpt,
        prompt.ids(gpt),
        layer=layer,
        head=head,
        position=position,
        max_tokens=max_tokens,
    )
    if step:
        step_through(way, console())
    else:
        output.show(way, prompt.title, page=lambda: inspect.walk_page(gpt, way, title=prompt.title))


def _check_terminal(output: Output) -> None:
    if output.as_json or output.html:
        raise click.UsageError("--step is for the terminal: leave out --json and --html")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--step needs a terminal; without it the whole walk is printed")


def walk(
    gpt: GPT, text: str | Sequence[int], console: Console, *, max_tokens: int | None = None
) -> None:
    """Print the walk of a text, or of ids; step by step where somebody sits before it."""
    from .. import inspect

    way = inspect.walk(gpt, text, max_tokens=max_tokens)
    if console.is_terminal and sys.stdin.isatty():
        step_through(way, console)
    else:
        console.print(way)
