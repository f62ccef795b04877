"""`pellucid talk`, what `make talk` runs: the chatbot; without a terminal, the walk."""

from __future__ import annotations

import sys

import click

from .options import console

__all__ = ["command"]


@click.command("talk")
def command() -> None:
    """Chat with the embedded model; where there is no terminal, walk through one prediction."""
    from ..chat import Conversation
    from ..gpt import load
    from .chat import converse, default_sampling

    gpt = load()
    screen = console()
    if sys.stdin.isatty() and sys.stdout.isatty():
        screen.print("[bold]Pellucid[/bold]: a GPT you can see through.\n")
        converse(gpt, Conversation(gpt, **default_sampling(gpt)), screen)
        return
    from .walk import TALK, walk

    walk(gpt, TALK, screen)
