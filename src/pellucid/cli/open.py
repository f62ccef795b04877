"""`pellucid open`: the server, on a free port of this machine, and its page in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from .options import with_loader
from .output import say
from .serve import serve
from .store import store_option

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("open")
@with_loader
@click.option("--name", help="The model's name on the page (default: its folder's, or its run's).")
@click.option("--template", metavar="T", help="plain, chatml, llama3 ... (default: the model's).")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="On which port (default: any that is free).",
)
@store_option
@click.option("--no-store", is_flag=True, help="Keep no conversations but in the page itself.")
@click.option("--no-browser", is_flag=True, help="Only say where the page is.")
def command(
    load: Callable[[], GPT],
    name: str | None,
    template: str | None,
    port: int,
    store: str | None,
    no_store: bool,
    no_browser: bool,
) -> None:
    """Open the page: chat, click any word, and see how it came about. Ctrl-C ends it.

    Nothing leaves this machine, and only this machine reaches it. Needs the extra [serve].
    """

    def show(url: str) -> None:
        import webbrowser

        if no_browser:
            say(f"The page: {url}")
        elif not webbrowser.open(url):
            say(f"No browser could be opened here: open {url} yourself.")

    serve(
        load,
        show,
        say=lambda text: say(f"{text.partition(';')[0]}. Ctrl-C ends it."),
        name=name,
        template=template,
        port=port,
        store=store,
        no_store=no_store,
    )
