"""`pellucid gradients`: which tokens the prediction is sensitive to."""

from __future__ import annotations

from typing import Literal

import click

from .findings import output_options, show, target_options
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("gradients")
@click.argument("text", required=False)
@target_options
@click.option("--integrated", is_flag=True, help="Along the way from a baseline: sums exactly.")
@click.option("--steps", type=click.IntRange(1), default=64, show_default=True, help="On that way.")
@click.option(
    "--baseline",
    type=click.Choice(["zero", "mean"]),
    default="zero",
    show_default=True,
    help="Where it begins.",
)
@model_options
@output_options
def command(
    text: str | None,
    target: str | int | None,
    versus: str | int | None,
    position: int,
    integrated: bool,
    steps: int,
    baseline: Literal["zero", "mean"],
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Gradient × input, or integrated gradients, for each token of TEXT. Needs PyTorch."""
    from ..inspect import gradient_times_input, integrated_gradients

    text = given_text(text, 'pellucid gradients "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    if integrated:
        found = integrated_gradients(
            gpt,
            text,
            target,
            versus=versus,
            position=position,
            baseline=baseline,
            steps=steps,
        )
    else:
        found = gradient_times_input(gpt, text, target, versus=versus, position=position)
    show(found, f"Gradients: {text}", as_json=as_json, html=html)
