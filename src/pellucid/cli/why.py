"""`pellucid why`: which tokens and heads made it say that."""

from __future__ import annotations

import click

from .findings import output_options, show
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("why")
@click.argument("text", required=False)
@click.argument("continuation", required=False)
@click.option(
    "--labels/--no-labels", default=True, help="Also measure what the heads do in general."
)
@model_options
@output_options
def command(
    text: str | None,
    continuation: str | None,
    labels: bool,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Say why the model goes on from TEXT with CONTINUATION (default: what it likes best), and
    what it would have said otherwise. Mind the space: " jail" and "jail" are two tokens.
    """
    from ..inspect import why

    text = given_text(text, 'pellucid why "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    found = why(gpt, text, continuation, labels=labels)
    show(found, f"Why: {text}", as_json=as_json, html=html)
