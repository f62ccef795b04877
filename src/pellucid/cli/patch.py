"""`pellucid patch`: put values of one prompt's run into another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from .options import with_model
from .output import Output, with_output
from .progress import told
from .text import Prompt, read_text, with_chat
from .types import TOKEN

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("patch")
@click.argument("source")
@click.argument("base")
@with_chat
@click.option(
    "--over",
    type=click.Choice(["positions", "heads"]),
    default="positions",
    show_default=True,
    help="What is put in.",
)
@click.option("--target", type=TOKEN, help="The token watched (default: the source's likeliest).")
@click.option("--versus", type=TOKEN, help="Held against (default: the base's likeliest).")
@with_model
@with_output
def command(
    source: str,
    base: str,
    chat: bool,
    over: Literal["positions", "heads"],
    target: str | int | None,
    versus: str | int | None,
    gpt: GPT,
    output: Output,
) -> None:
    """Put the values of the run on SOURCE into the run on BASE, one at a time: where that brings
    SOURCE's answer back is where the model holds it. Both need as many tokens.
    """
    from ..inspect import patch_each

    if source == base == "-":
        raise click.UsageError("only one of the two texts can be standard input")
    first, second = (Prompt(text=read_text(text), chat=chat) for text in (source, base))
    ids, into = first.ids(gpt), second.ids(gpt)
    with told("putting values in") as progress:
        effects = patch_each(gpt, ids, into, over, target=target, versus=versus, progress=progress)
    output.show(effects, f"Patching: {first.title} → {second.title}")
