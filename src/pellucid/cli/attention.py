"""`pellucid attention`: who looks where."""

from __future__ import annotations

import click

from .findings import output_options, places, show
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("attention")
@click.argument("text", required=False)
@places("layer", "head")
@click.option("--position", type=int, default=-1, help="Whose look (default: the last).")
@model_options
@output_options
def command(
    text: str | None,
    layers: list[int] | None,
    heads: list[int] | None,
    position: int,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Show where each head looks in TEXT; with one --layer and one --head every number."""
    from ..inspect import attention

    text = given_text(text, 'pellucid attention "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    found = attention(gpt, text, layers=layers, heads=heads)
    sections = found.sections(position=position)
    show(found, f"Attention: {text}", as_json=as_json, html=html, sections=sections)
