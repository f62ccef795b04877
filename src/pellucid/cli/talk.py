"""`pellucid talk`, what `make talk` runs: the chatbot; without a terminal, the walk. Or the talk
itself, as a file to give it from."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from .output import console, note

__all__ = ["command"]


@click.command("talk")
@click.option(
    "--present",
    type=click.Path(dir_okay=False),
    help="Write the talk to this HTML file instead: frames to give it from, on the model `talk`.",
)
def command(present: str | None) -> None:
    """Chat with the model `chat`; where there is no terminal, walk through one prediction."""
    from ..gpt import load

    if present is not None:
        from ..inspect import talk_page
        from .pages import write_html

        write_html(present, lambda: talk_page(load("talk")))
        note(f"Wrote {present}: open it in a browser; ? lists the keys.")
        return
    from ..sampling import recommended
    from .chat import converse
    from .walk import TALK, walk

    gpt = load()
    screen = console()
    if sys.stdin.isatty() and sys.stdout.isatty():
        screen.print("[bold]Pellucid[/bold]: a GPT you can see through.\n")
        converse(gpt, recommended(gpt.card))
        if shutil.which("pellucid") is None:  # `make talk`, the first time
            activate = Path(sys.argv[0]).parent / "activate"
            note(
                f"To go on: `source {activate}`, and `pellucid` is found; `pellucid chat` keeps "
                "what is said, `pellucid --help` lists what else there is."
            )
    else:
        walk(gpt, TALK, screen)
