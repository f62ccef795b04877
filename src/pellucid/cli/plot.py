"""`pellucid plot`: a run's losses as a picture."""

from __future__ import annotations

import click

from .output import say

__all__ = ["command"]


@click.command("plot")
@click.argument("run", type=click.Path(exists=True, file_okay=False))
def command(run: str) -> None:
    """Draw the log of the training run in the folder RUN again: loss.png and loss.svg."""
    from ..train.plot import draw_losses

    for path in draw_losses(run):
        say(f"Wrote {path}")
