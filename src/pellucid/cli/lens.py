"""`pellucid lens`: what the model would say if it ended after each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import places, with_model
from .output import Output, with_output
from .text import with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("lens")
@with_text
@places("position")
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="How many tokens."
)
@with_model
@with_output
def command(text: str, positions: list[int] | None, top: int, gpt: GPT, output: Output) -> None:
    """Read TEXT out after each layer: the logit lens. TEXT - reads standard input.

    With one --position, how the token that follows rises from layer to layer.
    """
    from ..inspect import logit_lens

    output.show(logit_lens(gpt, text, positions=positions, k=top), f"Lens: {text}")
