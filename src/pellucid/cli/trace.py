"""`pellucid trace`: every value of a pass, or of a generation that was recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import places, with_loader
from .output import Output, note, with_output
from .text import Prompt, with_text
from .types import BYTES

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("trace")
@with_text
@click.option(
    "--names",
    multiple=True,
    help='Which values: "attn.pattern", "blocks.3.*", "*.scale"; may be given several times.',
)
@places("layer", "head", "position")
@click.option(
    "--budget", type=BYTES, default="1GiB", show_default=True, help="Refuse to record more."
)
@click.option("--cost", is_flag=True, help="Only what it would take; nothing is run.")
@click.option("--save", type=click.Path(dir_okay=False), help="Also keep it, as safetensors.")
@with_loader
@with_output
def command(
    prompt: Prompt,
    names: tuple[str, ...],
    layers: list[int] | None,
    heads: list[int] | None,
    positions: list[int] | None,
    budget: int,
    cost: bool,
    save: str | None,
    load: Callable[[], GPT],
    output: Output,
) -> None:
    """Show the values of a pass over TEXT, or those in FILE.safetensors, which --save or
    `pellucid generate --record` wrote. One value alone is drawn whole.
    """
    from ..files import new_file
    from ..inspect import Trace, estimate, trace

    file = prompt.text
    if not prompt.chat and file.endswith(".safetensors") and Path(file).is_file():
        recorded = Trace.load(file).narrowed(names or "*", layers=layers, heads=heads)
        output.show(recorded, file)
        return
    gpt = load()
    output = replace(output, model=gpt)
    ids = prompt.ids(gpt)
    chosen = {"layers": layers, "heads": heads, "positions": positions}
    if cost:
        output.show(estimate(gpt, ids, names or "*", **chosen), f"Cost: {prompt.title}")
        return
    values = trace(gpt, ids, names or "*", **chosen, budget_bytes=budget)
    if save is not None:
        with new_file(save) as partial:
            values.save(partial)
        note(f"Wrote {save}")
    output.show(values, f"Trace: {prompt.title}")
