"""`pellucid view`: one text seen from every side, on one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import with_model
from .output import note
from .pages import write_page
from .text import Prompt, with_text
from .types import TOKEN

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("view")
@with_text
@click.option("--target", type=TOKEN, help="Whose logit, or #id (default: the likeliest).")
@click.option("--versus", type=TOKEN, help="The token that it is held against: the difference.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False),
    default="pellucid.html",
    show_default=True,
    help="The file to write.",
)
@with_model
def command(
    prompt: Prompt, target: str | int | None, versus: str | int | None, html: str, gpt: GPT
) -> None:
    """Write one HTML page about TEXT: next token with live sampling, attention, logit lens,
    attribution, residual stream, what the heads do. TEXT - reads standard input.

    The page opens anywhere, also offline.
    """
    from ..inspect import view

    ids = prompt.ids(gpt)
    write_page(html, lambda: view(gpt, ids, target, versus=versus).sections(), prompt.title, gpt)
    note(f"Wrote {html}: open it in a browser.")
