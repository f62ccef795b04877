"""`pellucid view`: one text seen from every side, on one HTML page."""

from __future__ import annotations

import click

from .findings import TOKEN, new_file
from .options import given_text, load_model, model_options

__all__ = ["command"]


@click.command("view")
@click.argument("text", required=False)
@model_options
@click.option("--target", type=TOKEN, help="Whose logit, or #id (default: the likeliest).")
@click.option("--versus", type=TOKEN, help="The token that it is held against: the difference.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False),
    default="pellucid.html",
    show_default=True,
    help="The file to write.",
)
def command(
    text: str | None,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    target: str | int | None,
    versus: str | int | None,
    html: str,
) -> None:
    """Write one HTML page about TEXT: next token with live sampling, attention, logit lens,
    attribution, residual stream, what the heads do. TEXT - reads standard input.

    The page opens anywhere, also offline.
    """
    from ..inspect import page, view

    text = given_text(text, 'pellucid view "The power clapper" --html page.html')
    gpt = load_model(model, backend, device, dtype, threads)
    with new_file(html) as partial:
        found = view(gpt, text, target, versus=versus)
        title = text if len(text) <= 60 else f"{text[:59]}…"
        partial.write_bytes(page(found, title=title).encode())
    click.echo(f"Wrote {html}: open it in a browser.", err=True)
