"""`pellucid chat`: a conversation in a terminal, or line by line through a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..visible import harmless
from .options import with_model
from .output import console, say
from .settings import DRAWING, with_settings

if TYPE_CHECKING:
    from ..chat import Conversation
    from ..gpt import GPT

__all__ = ["answer_lines", "command", "converse"]

NAMES = {"stop_tokens": "stop_token"}  # a setting's option, where it is called otherwise


@click.command("chat")
@with_model
@with_settings(max_tokens=256)
@click.option("--system", metavar="TEXT", help="A text that stays at the beginning.")
@click.option("--template", metavar="T", help="plain, dialogpt or roles (default: the model's).")
@click.option(
    "--continue",
    "kept",
    metavar="FILE",
    type=click.Path(dir_okay=False, exists=True),
    help="Go on with a conversation that /save wrote, with its settings.",
)
def command(
    gpt: GPT, settings: dict[str, Any], system: str | None, template: str | None, kept: str | None
) -> None:
    """Talk with a model. Without a terminal, each line of standard input is a message, and the
    replies go to standard output; commands such as /undo are for the terminal.
    """
    conversation = _conversation(gpt, settings, system, template, kept)
    if sys.stdin.isatty() and sys.stdout.isatty():
        _talk(conversation)
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A pipe or file is UTF-8, as for every verb; bytes that are no text are no traceback.
        encoding = None if sys.stdin.isatty() else "utf-8"
        sys.stdin.reconfigure(encoding=encoding, errors="replace")
    answer_lines(conversation, sys.stdin)


def converse(gpt: GPT, settings: dict[str, Any]) -> None:
    """The session in a terminal, until Ctrl-D or /quit."""
    _talk(_conversation(gpt, settings))


def _conversation(
    gpt: GPT,
    settings: dict[str, Any],
    system: str | None = None,
    template: str | None = None,
    kept: str | None = None,
) -> Conversation:
    """A new one, or what `kept`, a file, goes on with: what was said on the command line changes
    its settings."""
    from ..chat import Conversation
    from ..transcript import Transcript

    if kept is None:
        return Conversation(gpt, template, system, **drawn(gpt, settings))
    if template is not None:
        raise click.UsageError("--template goes with a new conversation: the file has its own")
    context = click.get_current_context()
    flags = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(NAMES.get(name, name)) is ParameterSource.COMMANDLINE
    }
    return Conversation.of(gpt, Transcript.read(kept, gpt.tokenizer), system=system, **flags)


def _talk(conversation: Conversation) -> None:
    from ..session import Session
    from .walk import walk

    Session(conversation.gpt, conversation, console(), walk=walk).run()


def drawn(gpt: GPT, settings: dict[str, Any]) -> dict[str, Any]:
    """Where the window is tiny and nobody chose how tokens are drawn: the talk's "token with the
    highest probability"."""
    from ..chat import TINY_WINDOW

    if gpt.hparams.n_ctx < TINY_WINDOW and not settings.keys() & {"greedy", *DRAWING}:
        return {**settings, "greedy": True}
    return settings


def answer_lines(conversation: Conversation, lines: Iterable[str]) -> None:
    """One message a line, one reply after another; notices to standard error."""
    if conversation.system_note:
        say(f"Note: {conversation.system_note}", err=True)
    for line in lines:
        if not (text := line.rstrip("\r\n")):
            continue
        reply = conversation.say(text)
        if conversation.notice:
            say(f"Note: {conversation.notice}", err=True)
        for step in reply:
            click.echo(harmless(step.text), nl=False)
        click.echo()
