"""`pellucid talk`, what `make talk` runs: the chatbot; without a terminal, the walk."""

from __future__ import annotations

import sys

import click

from .output import console

__all__ = ["command"]


@click.command("talk")
def command() -> None:
    """Chat with the model `chat`; where there is no terminal, walk through one prediction."""
    from ..gpt import load
    from ..sampling import recommended
    from .chat import converse
    from .walk import TALK, walk

    gpt = load()
    screen = console()
    if sys.stdin.isatty() and sys.stdout.isatty():
        screen.print("[bold]Pellucid[/bold]: a GPT you can see through.\n")
        converse(gpt, recommended(gpt.card))
    else:
        walk(gpt, TALK, screen)
