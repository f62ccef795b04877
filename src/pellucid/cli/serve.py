"""`pellucid serve`: OpenAI's API for one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .options import with_loader
from .output import say
from .speculating import speculate_option
from .store import store_option
from .types import BYTES

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("serve")
@with_loader
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="On which port; 0 is any that is free.",
)
@click.option("--name", help="The model's name for clients (default: its folder's, or its run's).")
@click.option("--template", metavar="T", help="plain, chatml, llama3 ... (default: the model's).")
@click.option(
    "--api-key-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, exists=True),
    help="Keys, one a line, of which clients must show one (else: $PELLUCID_API_KEY).",
)
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="Answer to this name too; may be repeated."
)
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="URL",
    help="Pages from there, https://chat.example, may ask; may be repeated.",
)
@click.option(
    "--max-running",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Texts that advance together.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(0),
    default=128,
    show_default=True,
    help="Texts that may wait for that; more are told to come back (429).",
)
@click.option("--cache", type=BYTES, help="Memory for keys and values (default: what they need).")
@click.option(
    "--strict", is_flag=True, help="No number depends on the texts beside it, to the bit; slower."
)
@speculate_option(" For a text that is alone; with several a pass has its rows already.")
@click.option(
    "--grace",
    type=click.FloatRange(0, 3600),
    default=30,
    show_default=True,
    help="Seconds for what is under way, once the server is told to end.",
)
@store_option
@click.option(
    "--no-store", is_flag=True, help="Keep no conversations: /v1/conversations is not there."
)
def command(load: Callable[[], GPT], **options: Any) -> None:
    """Serve a model over HTTP, as OpenAI's clients expect it. Ctrl-C or SIGTERM ends it.

    Only this machine reaches it, unless --host says otherwise; then it asks for an API key.
    Needs the extra [serve].
    """
    serve(load, **options)


def serve(
    load: Callable[[], GPT],
    show: Callable[[str], object] = lambda url: None,
    say: Callable[[str], object] = say,
    **options: Any,
) -> None:
    """Until it is told to end. show: called with the page's address. options: of `Options`."""
    from ..errors import InputError

    try:
        from ..serve.main import Options, run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pellucid"):
            raise
        raise InputError(f'this needs {error.name}: pip install "pellucid[serve]"') from error
    run(load, Options(**options), say, show)
