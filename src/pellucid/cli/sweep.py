"""`pellucid sweep`: every head, MLP or token off, each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .ablation import with_ablation
from .options import with_model
from .output import Output, with_output
from .progress import told
from .text import Prompt, with_text

if TYPE_CHECKING:
    from ..gpt import GPT
    from ..inspect.ablations import Over

__all__ = ["command"]


@click.command("sweep")
@with_text
@click.option(
    "--over",
    type=click.Choice(["heads", "mlps", "positions"]),
    default="heads",
    show_default=True,
    help="What is switched off.",
)
@with_ablation
@with_model
@with_output
def command(prompt: Prompt, over: Over, ablation: dict[str, Any], gpt: GPT, output: Output) -> None:
    """Switch off each head (or MLP, or token) of TEXT alone: which of them the prediction needs."""
    from ..inspect import ablate_each

    with told(f"switching {over} off") as progress:
        found = ablate_each(gpt, prompt.ids(gpt), over, progress=progress, **ablation)
    output.show(found, f"Sweep over {over}: {prompt.title}")
