"""`pellucid why`: which tokens and heads made it say that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import with_model
from .output import Output, with_output
from .text import with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("why")
@with_text
@click.argument("continuation", required=False)
@click.option(
    "--labels/--no-labels", default=True, help="Also measure what the heads do in general."
)
@with_model
@with_output
def command(text: str, continuation: str | None, labels: bool, gpt: GPT, output: Output) -> None:
    """Say why the model goes on from TEXT with CONTINUATION (default: what it likes best), and
    what it would have said otherwise. Mind the space: " jail" and "jail" are two tokens.
    """
    from ..inspect import why

    output.show(why(gpt, text, continuation, labels=labels), f"Why: {text}")
