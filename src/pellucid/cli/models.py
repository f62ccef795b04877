"""`pellucid models`: what is at hand."""

from __future__ import annotations

import json
from typing import Any

import click

from .options import console

__all__ = ["command"]


@click.command("models")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the embedded models, the known sizes, and what the hub's cache holds; or show the
    card of the model NAME."""
    if name is not None:
        _card(name, as_json)
        return
    from .. import embedded
    from ..checkpoint import hub
    from ..hparams import SIZES

    found = {
        "embedded": embedded.names(),
        "default": embedded.DEFAULT,
        "cached": hub.cached(),
        "sizes": {size: {**h.to_dict(), "parameters": h.n_params} for size, h in SIZES.items()},
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    from rich.table import Table

    screen = console()
    screen.print("Embedded (need no download): " + ", ".join(embedded.names()), highlight=False)
    cached = ", ".join(hub.cached()) or "none; --model gpt2 downloads it"
    screen.print(f"In the hub's cache: {cached}", markup=False)
    table = Table("size", "parameters", "n_vocab", "n_ctx", "n_embd", "n_head", "n_layer", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for size, h in SIZES.items():
        table.add_row(size, f"{h.n_params:,}", *(str(value) for value in h.to_dict().values()))
    screen.print()
    screen.print(table)


def _card(name: str, as_json: bool) -> None:
    from .. import checkpoint

    found = checkpoint.load(name)
    card: dict[str, Any] = {
        **found.hparams.to_dict(),
        "parameters": found.hparams.n_params,
        "template": found.template,
        "card": found.card,
    }
    if as_json:
        click.echo(json.dumps(card, ensure_ascii=False))
        return
    screen = console()
    own = {key: value for key, value in card.items() if key != "card"}
    for key, value in {**found.card, **own}.items():
        screen.print(f"{key.replace('_', ' ')}: ", end="", style="bold", markup=False)
        if isinstance(value, list):
            screen.print("\n  " + "\n  ".join(map(str, value)), markup=False)
        else:
            screen.print(str(value), markup=False)
