"""`pellucid compare`: how a text goes on, as it is and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import with_model
from .output import Output, with_output
from .settings import with_settings
from .text import Prompt, with_text
from .types import INDICES, PART

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("compare")
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
@click.option(
    "--times", type=float, default=0.0, help="What they are multiplied by (default: 0, off)."
)
@click.option("--source", metavar="TEXT", help="They are as in a pass over this text instead.")
@with_model
@with_settings(max_tokens=40)
@with_output
def command(
    prompt: Prompt,
    heads: tuple[tuple[int, int], ...],
    mlps: list[int],
    positions: list[int],
    times: float,
    source: str | None,
    gpt: GPT,
    settings: dict[str, Any],
    output: Output,
) -> None:
    """Go on from TEXT with heads, MLPs or tokens switched off, scaled or taken from another text,
    beside the model as it is; the same seed for both."""
    from ..inspect import Intervention, compare

    done: dict[str, Any] = {"op": "scale", "value": times} if times else {"op": "suppress"}
    if source is not None:
        done = {"op": "patch", "source": source}
    changes = [Intervention(name="attn.z", layer=layer, head=head, **done) for layer, head in heads]
    changes += [Intervention(name="mlp_out", layer=layer, **done) for layer in mlps]
    if positions:
        changes.append(Intervention(name="embed", position=positions, **done))
    if not changes:
        raise click.UsageError("say what to change: --head 0.1, --mlp 0 or --token 2")
    both = compare(gpt, prompt.ids(gpt), changes, **settings)
    output.show(both, f"Before and after: {prompt.title}")
