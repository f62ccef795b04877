"""`pellucid gradients`: which tokens the prediction is sensitive to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from .options import with_model, with_target
from .output import Output, with_output
from .text import Prompt, with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("gradients")
@with_text
@with_target
@click.option("--integrated", is_flag=True, help="Along the way from a baseline: sums exactly.")
@click.option("--steps", type=click.IntRange(1), default=64, show_default=True, help="On that way.")
@click.option(
    "--baseline",
    type=click.Choice(["zero", "mean"]),
    default="zero",
    show_default=True,
    help="Where it begins.",
)
@with_model
@with_output
def command(
    prompt: Prompt,
    target: str | int | None,
    integrated: bool,
    steps: int,
    baseline: Literal["zero", "mean"],
    gpt: GPT,
    output: Output,
    **logit: Any,
) -> None:
    """Gradient × input, or integrated gradients, for each token of TEXT. Needs PyTorch."""
    from ..inspect import gradient_times_input, integrated_gradients

    ids = prompt.ids(gpt)
    if integrated:
        gradients = integrated_gradients(gpt, ids, target, baseline=baseline, steps=steps, **logit)
    else:
        gradients = gradient_times_input(gpt, ids, target, **logit)
    output.show(gradients, f"Gradients: {prompt.title}")
