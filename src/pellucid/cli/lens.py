"""`pellucid lens`: what the model would say if it ended after each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import places, with_model
from .output import Output, with_output
from .text import Prompt, with_text
from .types import TOKEN

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("lens")
@with_text
@click.option("--target", type=TOKEN, help="The token watched (default: what follows).")
@places("position")
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="How many tokens."
)
@with_model
@with_output
def command(
    prompt: Prompt,
    target: str | int | None,
    positions: list[int] | None,
    top: int,
    gpt: GPT,
    output: Output,
) -> None:
    """Read TEXT out after each layer: the logit lens. TEXT - reads standard input.

    With one --position, how the token that follows rises from layer to layer.
    """
    from ..inspect import logit_lens

    output.show(
        logit_lens(gpt, prompt.ids(gpt), target, positions=positions, k=top),
        f"Lens: {prompt.title}",
    )
