"""`pellucid trace`: every value of a pass, or of a generation that was recorded."""

from __future__ import annotations

from pathlib import Path

import click

from .findings import BYTES, new_file, output_options, places, show
from .options import console, given_text, load_model, model_options

__all__ = ["command"]


@click.command("trace")
@click.argument("text", required=False)
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
@model_options
@output_options
def command(
    text: str | None,
    names: tuple[str, ...],
    layers: list[int] | None,
    heads: list[int] | None,
    positions: list[int] | None,
    budget: int,
    cost: bool,
    save: str | None,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Show the values of a pass over TEXT, or those in FILE.safetensors, which --save or
    `pellucid generate --record` wrote. One value alone is drawn whole.
    """
    from ..inspect import Trace, estimate, trace

    text = given_text(text, 'pellucid trace "The power clapper"')
    if text.endswith(".safetensors") and Path(text).is_file():
        found = Trace.load(text).narrowed(names or "*", layers=layers, heads=heads)
        show(found, text, as_json=as_json, html=html)
        return
    gpt = load_model(model, backend, device, dtype, threads)
    chosen = {"layers": layers, "heads": heads, "positions": positions}
    if cost:
        taken = estimate(gpt, text, names or "*", **chosen)
        show(taken, f"Cost: {text}", as_json=as_json, html=html)
        return
    found = trace(gpt, text, names or "*", **chosen, budget_bytes=budget)
    if save is not None:
        with new_file(save) as partial:
            found.save(partial)
        console(stderr=True).print(f"Wrote {save}", style="dim", markup=False)
    show(found, f"Trace: {text}", as_json=as_json, html=html)
