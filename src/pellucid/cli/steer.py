"""`pellucid steer`: generate with a direction added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import with_model
from .output import Output, with_output
from .settings import with_settings
from .text import Prompt, with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("steer")
@with_text
@click.option("--towards", metavar="TEXT", help="Steer towards what this text says.")
@click.option("--away", metavar="TEXT", help="Away from this (default: from TEXT itself).")
@click.option("--layer", type=int, help="Where it is added (default: after two thirds).")
@click.option(
    "--strength",
    type=float,
    default=0.3,
    show_default=True,
    help="How long it is, in lengths of the residual stream.",
)
@with_model
@with_settings(max_tokens=40)
@with_output
def command(
    prompt: Prompt,
    towards: str | None,
    away: str | None,
    layer: int | None,
    strength: float,
    gpt: GPT,
    settings: dict[str, Any],
    output: Output,
) -> None:
    """Go on from TEXT with a direction added to the residual stream, beside the same without."""
    from ..inspect import steered

    both = steered(
        gpt, prompt.ids(gpt), towards=towards, away=away, layer=layer, strength=strength, **settings
    )
    output.show(both, f"Steering: {prompt.title}")
