"""`pellucid neighbours`: the tokens nearest to a token."""

from __future__ import annotations

from typing import Literal

import click

from .findings import TOKEN, output_options, show
from .options import load_model, model_options

__all__ = ["command"]


@click.command("neighbours")
@click.argument("token", type=TOKEN)
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option(
    "--by",
    type=click.Choice(["cosine", "dot"]),
    default="cosine",
    show_default=True,
    help="How nearness is measured.",
)
@model_options
@output_options
def command(
    token: str | int,
    top: int,
    by: Literal["cosine", "dot"],
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """List the tokens whose embeddings lie nearest to that of TOKEN (its text, or #id)."""
    from ..inspect import neighbours

    gpt = load_model(model, backend, device, dtype, threads)
    found = neighbours(gpt, token, top, by=by)
    show(found, f"Neighbours of {token}", as_json=as_json, html=html)
