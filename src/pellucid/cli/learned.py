"""`pellucid learned`: how a model came to say what it says, moment by moment of its training."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import click

from .output import Output, note, say, with_output
from .training import with_page

__all__ = ["command"]


@click.command("learned")
@click.argument("source", default="talk", metavar="[RUN|talk]")
@click.argument("text", required=False)
@click.option("--layer", type=int, help="Which layer's head to open (default: what changed most).")
@click.option("--head", type=int, help="Which of its heads.")
@with_page("Serve it to a browser on this machine, also while the run goes on (0: any port).")
@click.option("--until-closed", is_flag=True, hidden=True)
@with_output
def command(
    source: str,
    text: str | None,
    layer: int | None,
    head: int | None,
    page: int | None,
    until_closed: bool,
    output: Output,
) -> None:
    """Show how the run in the folder RUN (or the model talk) learned to go on from TEXT: its loss,
    its next token, where a head looked and how its embeddings moved, at each moment that was kept.

    --html writes one page with a slider. A run keeps its moments with `train --snapshots 30`.
    """
    if page is not None:
        _serve(source, text, layer, head, page, until_closed)
        return
    from .. import history

    finding = history.learned(source, text, layer=layer, head=head)
    output.show(
        finding,
        f"How {finding.name} learned",
        page=lambda: history.learned_page(source, text, layer=layer, head=head),
    )


def _serve(
    source: str, text: str | None, layer: int | None, head: int | None, port: int, beside: bool
) -> None:
    from ..history.live import Server

    if not beside:
        from ..history import open_course

        open_course(source)  # whoever asks for what is not there is told so at once
    with Server(source, text, layer=layer, head=head, port=port) as server:
        say(server.url, data=True)
        sys.stdout.flush()
        if beside:
            _wait_in_the_background(server.wind_up)
        else:
            note("Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.1)


def _wait_in_the_background(end: Callable[[], None]) -> None:
    """A run comes first; and when it closes its pipe, `end`."""
    if hasattr(os, "nice"):
        os.nice(10)

    def wait() -> None:
        sys.stdin.read()
        end()

    threading.Thread(target=wait, daemon=True).start()
