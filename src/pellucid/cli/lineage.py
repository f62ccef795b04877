"""`pellucid lineage`: what changed since 2017."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .loading import load
from .output import Output, with_output
from .text import read_text

if TYPE_CHECKING:
    from ..gpt import GPT
    from ..translate import Translator

__all__ = ["command"]


@click.command("lineage")
@click.argument("text")
@click.option(
    "--model",
    "models",
    metavar="M",
    multiple=True,
    help="Stands in for its family: digits, chat, a folder, a file; once for each.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
@with_output
def command(text: str, models: tuple[str, ...], seed: int, output: Output) -> None:
    """Put TEXT through the original Transformer, GPT-2, GPT-3 and Llama, and compare them value by
    value: positions, norms, heads, MLP. TEXT - reads standard input.

    Each is tiny and has random weights, as a training starts with, unless --model gives another.
    """
    from ..inspect import lineage

    text = read_text(text)
    output.show(lineage(text, map(_load, models), seed=seed), text)


def _load(name: str) -> GPT | Translator:
    from ..checkpoint import family_name
    from ..families import named
    from ..translate import load_translator

    family = named(family_name(name))
    return load_translator(name) if family is not None and family.encodes else load(name)
