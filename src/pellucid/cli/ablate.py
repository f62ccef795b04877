"""`pellucid ablate`: switch parts off and see what it says then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .ablation import with_ablation
from .options import with_model
from .output import Output, with_output
from .text import Prompt, with_text
from .types import INDICES, PART

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("ablate")
@with_text
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
@with_ablation
@with_model
@with_output
def command(
    prompt: Prompt,
    heads: tuple[tuple[int, int], ...],
    mlps: list[int],
    positions: list[int],
    all_heads: bool,
    ablation: dict[str, Any],
    gpt: GPT,
    output: Output,
) -> None:
    """Switch heads, MLPs or tokens of TEXT off together, and see what the model says then."""
    import numpy as np

    from ..inspect import ablate

    if all_heads:
        heads = tuple(np.ndindex(gpt.hparams.n_layer, gpt.hparams.n_head))
    if not (heads or mlps or positions):
        raise click.UsageError("say what to switch off: --head 0.1, --mlp 0 or --token 2")
    effect = ablate(gpt, prompt.ids(gpt), heads=heads, mlps=mlps, positions=positions, **ablation)
    output.show(effect, f"Ablation: {prompt.title}")
