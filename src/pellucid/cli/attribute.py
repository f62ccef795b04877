"""`pellucid attribute`: a logit as the sum of what each part wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import with_model, with_target
from .output import Output, with_output
from .text import Prompt, with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("attribute")
@with_text
@with_target
@with_model
@with_output
def command(
    prompt: Prompt,
    target: str | int | None,
    versus: str | int | None,
    position: int,
    gpt: GPT,
    output: Output,
) -> None:
    """Divide the logit of the token after TEXT among heads, MLPs, embeddings and tokens.

    The shares sum to the logit, or with --versus to the difference of two.
    """
    from ..inspect import attribute

    shares = attribute(gpt, prompt.ids(gpt), target, versus=versus, position=position)
    output.show(shares, f"Attribution: {prompt.title}")
