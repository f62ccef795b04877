"""`pellucid attention`: who looks where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import places, with_model
from .output import Output, with_output
from .text import Prompt, with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("attention")
@with_text
@places("layer", "head")
@click.option("--position", type=int, default=-1, help="Whose look (default: the last).")
@with_model
@with_output
def command(
    prompt: Prompt,
    layers: list[int] | None,
    heads: list[int] | None,
    position: int,
    gpt: GPT,
    output: Output,
) -> None:
    """Show where each head looks in TEXT; with one --layer and one --head every number."""
    from ..inspect import attention

    patterns = attention(gpt, prompt.ids(gpt), layers=layers, heads=heads)
    sections = patterns.sections(position=position)
    output.show(patterns, f"Attention: {prompt.title}", sections)
