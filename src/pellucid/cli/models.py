"""`pellucid models`: what is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import click

from ..hparams import HParams
from ..visible import harmless
from .output import console, say, to_json

__all__ = ["command"]


@click.command("models")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the embedded models, the known sizes, and what the hub's cache holds; or show the
    card of the model NAME."""
    if name is not None:
        print_card(name, as_json=as_json)
    else:
        print_models(as_json=as_json)


def print_models(*, as_json: bool) -> None:
    from .. import embedded
    from ..checkpoint import hub
    from ..hparams import SIZES

    cached = hub.cached()
    if as_json:
        sizes = {size: {**h.to_dict(), "parameters": h.n_params} for size, h in SIZES.items()}
        say(
            to_json(
                {
                    "embedded": embedded.names(),
                    "default": embedded.DEFAULT,
                    "cached": cached,
                    "sizes": sizes,
                }
            )
        )
        return
    from rich.table import Table

    screen = console()
    screen.print("Embedded (need no download): " + ", ".join(embedded.names()), markup=False)
    listed = ", ".join(cached) or "none; --model gpt2 downloads it"
    screen.print(harmless(f"In the hub's cache: {listed}"), markup=False)
    table = Table("size", "parameters", "n_vocab", "n_ctx", "n_embd", "n_head", "n_layer", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for size, h in SIZES.items():
        table.add_row(size, f"{h.n_params:,}", *(str(value) for value in h.to_dict().values()))
    screen.print()
    screen.print(table)


def print_card(name: str, *, as_json: bool) -> None:
    from rich.text import Text

    from .. import checkpoint

    model = checkpoint.load(name)
    own = {
        **model.hparams.to_dict(),
        "parameters": model.hparams.n_params,
        "template": model.template,
    }
    if as_json:
        say(to_json({**own, "card": model.card}))
        return
    screen = console()
    for depth, key, value in lines({**model.card, **own}):
        line = Text("  " * depth)
        line.append(harmless(key), style="bold" if depth == 0 else "")
        screen.print(line + harmless(value), soft_wrap=True)


def lines(table: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """A card -> (depth, key, value) line by line, as a person reads it."""
    for key, value in table.items():
        name = (key if key in _NAMES else str(key).replace("_", " ")) + ":"
        if isinstance(value, Mapping) and any(map(_nested, value.values())):
            yield depth, name, ""
            yield from lines(value, depth + 1)
        elif isinstance(value, list) and value:
            yield depth, name, ""
            yield from ((depth + 1, "", _plain(each)) for each in value)
        else:
            yield depth, name, f" {_plain(value)}"


_NAMES = {field.name for field in fields(HParams)}  # GPT-2's own, as they are everywhere


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return {None: "none", True: "yes", False: "no"}[value] if _is_word(value) else str(value)


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)
