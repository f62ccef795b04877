"""`pellucid steer`: generate with a direction added."""

from __future__ import annotations

from typing import Any

import click

from .findings import output_options, show
from .options import given_text, load_model, model_options, sampling_options

__all__ = ["command"]


@click.command("steer")
@click.argument("text", required=False)
@click.option("--towards", metavar="TEXT", help="Steer towards what this text says.")
@click.option("--away", metavar="TEXT", help="Away from this (default: from TEXT itself).")
@click.option("--layer", type=int, help="Where it is added (default: the middle).")
@click.option("--strength", type=float, default=1.0, show_default=True, help="How much of it.")
@click.option(
    "--max-tokens", type=click.IntRange(1), default=40, show_default=True, help="At most."
)
@sampling_options
@model_options
@output_options
def command(
    text: str | None,
    towards: str | None,
    away: str | None,
    layer: int | None,
    strength: float,
    max_tokens: int,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
    **sampling: Any,
) -> None:
    """Go on from TEXT with a direction added to the residual stream, beside the same without."""
    from ..inspect import steered

    text = given_text(text, 'pellucid steer "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    seed = sampling.pop("seed")
    found = steered(
        gpt,
        text,
        towards=towards,
        away=away,
        layer=layer,
        strength=strength,
        seed=0 if seed is None else seed,
        max_tokens=max_tokens,
        **sampling,
    )
    show(found, f"Steering: {text}", as_json=as_json, html=html)
