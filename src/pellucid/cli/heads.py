"""`pellucid heads`: what each head does, measured."""

from __future__ import annotations

import click

from .findings import output_options, show
from .options import load_model, model_options

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
@model_options
@output_options
def command(
    threshold: float,
    period: int | None,
    seed: int,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Label the heads by what they do on random tokens that are repeated: previous-token,
    duplicate-token, induction, first-token, self.
    """
    from ..inspect import head_labels

    gpt = load_model(model, backend, device, dtype, threads)
    found = head_labels(gpt, threshold=threshold, period=period, seed=seed)
    show(found, f"Heads of {gpt.name}", as_json=as_json, html=html)
