"""`pellucid models`: what is at hand."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("models")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the embedded models, the known sizes, and what the hub's cache holds; or show the
    card of the model NAME."""
    from .cards import print_card
    from .listing import print_models

    if name is not None:
        print_card(name, as_json=as_json)
    else:
        print_models(as_json=as_json)
