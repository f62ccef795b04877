"""`pellucid patch`: put values of one prompt's run into another's."""

from __future__ import annotations

from typing import Literal

import click

from .findings import TOKEN, output_options, show
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("patch")
@click.argument("source")
@click.argument("base")
@click.option(
    "--over",
    type=click.Choice(["positions", "heads"]),
    default="positions",
    show_default=True,
    help="What is put in.",
)
@click.option("--target", type=TOKEN, help="The token watched (default: the source's likeliest).")
@click.option("--versus", type=TOKEN, help="Held against (default: the base's likeliest).")
@model_options
@output_options
def command(
    source: str,
    base: str,
    over: Literal["positions", "heads"],
    target: str | int | None,
    versus: str | int | None,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Put the values of the run on SOURCE into the run on BASE, one at a time: where that brings
    SOURCE's answer back is where the model holds it. Both need as many tokens.
    """
    from ..inspect import patch_each

    example = 'pellucid patch "The power clapper" "The power supply"'
    source, base = given_text(source, example), given_text(base, example)
    gpt = load_model(model, backend, device, dtype, threads)
    found = patch_each(gpt, source, base, over, target=target, versus=versus)
    show(found, f"Patching: {source} → {base}", as_json=as_json, html=html)
