"""`pellucid sweep`: every head, MLP or token off, each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .findings import TOKEN, output_options, show
from .options import given_text, load_model, model_options

if TYPE_CHECKING:
    from ..inspect.ablation import Kind, Over

__all__ = ["command"]


@click.command("sweep")
@click.argument("text", required=False)
@click.option(
    "--over",
    type=click.Choice(["heads", "mlps", "positions"]),
    default="heads",
    show_default=True,
    help="What is switched off.",
)
@click.option(
    "--how",
    type=click.Choice(["zero", "mean", "resample"]),
    default="zero",
    show_default=True,
    help="What takes its place.",
)
@click.option("--reference", metavar="TEXT", help="Where mean and resample take values from.")
@click.option("--target", type=TOKEN, help="The token watched (default: the likeliest).")
@click.option("--position", type=int, default=-1, help="After which (default: the last).")
@click.option("--seed", type=click.IntRange(0), default=0, help="For --how resample.")
@model_options
@output_options
def command(
    text: str | None,
    over: Over,
    how: Kind,
    reference: str | None,
    target: str | int | None,
    position: int,
    seed: int,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Switch off each head (or MLP, or token) of TEXT alone: which of them the prediction needs."""
    from ..inspect import ablate_each

    text = given_text(text, 'pellucid sweep "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    found = ablate_each(
        gpt, text, over, how=how, reference=reference, target=target, position=position, seed=seed
    )
    show(found, f"Sweep over {over}: {text}", as_json=as_json, html=html)
