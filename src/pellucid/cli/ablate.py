"""`pellucid ablate`: switch parts off and see what it says then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .findings import INDICES, PART, TOKEN, output_options, show
from .options import given_text, load_model, model_options

if TYPE_CHECKING:
    from ..inspect.ablation import Kind

__all__ = ["command"]


@click.command("ablate")
@click.argument("text", required=False)
@click.option(
    "--head",
    "heads",
    type=PART,
    multiple=True,
    help="3.7 is head 7 of layer 3; may be given several times.",
)
@click.option("--mlp", "mlps", type=INDICES, default=[], help="The MLPs of these layers: 0,2,4-6.")
@click.option(
    "--token", "positions", type=INDICES, default=[], help="The tokens at these positions."
)
@click.option("--all-heads", is_flag=True, help="Every head there is.")
@click.option(
    "--how",
    type=click.Choice(["zero", "mean", "resample"]),
    default="zero",
    show_default=True,
    help="What takes their place.",
)
@click.option("--reference", metavar="TEXT", help="Where mean and resample take values from.")
@click.option("--target", type=TOKEN, help="The token watched (default: the likeliest).")
@click.option("--position", type=int, default=-1, help="After which (default: the last).")
@click.option("--seed", type=click.IntRange(0), default=0, help="For --how resample.")
@model_options
@output_options
def command(
    text: str | None,
    heads: tuple[tuple[int, int], ...],
    mlps: list[int],
    positions: list[int],
    all_heads: bool,
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
    """Switch heads, MLPs or tokens of TEXT off together, and see what the model says then."""
    import numpy as np

    from ..inspect import ablate

    text = given_text(text, 'pellucid ablate "The power clapper went straight to"')
    gpt = load_model(model, backend, device, dtype, threads)
    if all_heads:
        heads = tuple(np.ndindex(gpt.hparams.n_layer, gpt.hparams.n_head))
    if not (heads or mlps or positions):
        raise click.UsageError("say what to switch off: --head 0.1, --mlp 0 or --token 2")
    found = ablate(
        gpt,
        text,
        heads=heads,
        mlps=mlps,
        positions=positions,
        how=how,
        reference=reference,
        target=target,
        position=position,
        seed=seed,
    )
    show(found, f"Ablation: {text}", as_json=as_json, html=html)
