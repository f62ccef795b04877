"""`pellucid why`: which tokens and heads made it say that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import with_model
from .output import Output, with_output
from .progress import told
from .text import Prompt, with_text

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("why")
@with_text
@click.argument("continuation", required=False)
@click.option(
    "--token",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Which token of the continuation: 1 is the first.",
)
@click.option(
    "--labels/--no-labels", default=True, help="Also measure what the heads do in general."
)
@with_model
@with_output
def command(
    prompt: Prompt,
    continuation: str | None,
    token: int,
    labels: bool,
    gpt: GPT,
    output: Output,
) -> None:
    """Say why the model goes on from TEXT with CONTINUATION (default: what it likes best), and
    what it would have said otherwise. Mind the space: " jail" and "jail" are two tokens. With
    --chat and a file it is the last reply that is explained.
    """
    from ..inspect import why

    ids, reply = prompt.exchange(gpt)
    said = reply if continuation is None else continuation
    with told("switching parts off") as progress:
        found = why(gpt, ids, said, token=token, labels=labels, progress=progress)
    output.show(found, f"Why: {prompt.title}")
