"""`pellucid lens`: what the model would say if it ended after each layer."""

from __future__ import annotations

import click

from .findings import output_options, places, show
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("lens")
@click.argument("text", required=False)
@places("position")
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="How many tokens."
)
@model_options
@output_options
def command(
    text: str | None,
    positions: list[int] | None,
    top: int,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Read TEXT out after each layer: the logit lens. TEXT - reads standard input.

    With one --position, how the token that follows rises from layer to layer.
    """
    from ..inspect import logit_lens

    text = given_text(text, 'pellucid lens "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    found = logit_lens(gpt, text, positions=positions, k=top)
    show(found, f"Lens: {text}", as_json=as_json, html=html)
