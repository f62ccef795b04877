"""`pellucid neighbours`: the tokens nearest to a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from .options import with_model
from .output import Output, with_output
from .types import TOKEN

if TYPE_CHECKING:
    from ..gpt import GPT

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
@with_model
@with_output
def command(
    token: str | int, top: int, by: Literal["cosine", "dot"], gpt: GPT, output: Output
) -> None:
    """List the tokens whose embeddings lie nearest to that of TOKEN (its text, or #id)."""
    from ..inspect import neighbours

    output.show(neighbours(gpt, token, top, by=by), f"Neighbours of {token}")
