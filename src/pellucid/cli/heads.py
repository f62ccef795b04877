"""`pellucid heads`: what each head does, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import with_model
from .output import Output, with_output

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("heads")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.4,
    show_default=True,
    help="From which share of its attention on a head gets a label.",
)
@click.option("--period", type=click.IntRange(2), help="Random tokens before the repetition.")
@click.option("--seed", type=click.IntRange(0), default=0, help="For the random tokens.")
@with_model
@with_output
def command(threshold: float, period: int | None, seed: int, gpt: GPT, output: Output) -> None:
    """Label the heads by what they do on random tokens that are repeated: previous-token,
    duplicate-token, induction, first-token, self.
    """
    from ..inspect import head_labels

    labels = head_labels(gpt, threshold=threshold, period=period, seed=seed)
    output.show(labels, f"Heads of {gpt.name}")
