"""`pellucid attribute`: a logit as the sum of what each part wrote."""

from __future__ import annotations

import click

from .findings import output_options, show, target_options
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("attribute")
@click.argument("text", required=False)
@target_options
@model_options
@output_options
def command(
    text: str | None,
    target: str | int | None,
    versus: str | int | None,
    position: int,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Divide the logit of the token after TEXT among heads, MLPs, embeddings and tokens.

    The shares sum to the logit, or with --versus to the difference of two.
    """
    from ..inspect import attribute

    text = given_text(text, 'pellucid attribute "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    found = attribute(gpt, text, target, versus=versus, position=position)
    show(found, f"Attribution: {text}", as_json=as_json, html=html)
