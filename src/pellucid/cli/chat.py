"""`pellucid chat`: a conversation in a terminal, or line by line through a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .keeping import Keeping, with_keeping
from .lines import answer_lines
from .options import with_model
from .output import console
from .settings import with_settings
from .speculating import with_speculation

if TYPE_CHECKING:
    from ..chat import Conversation
    from ..conversations import Tree
    from ..conversations.keeper import Keeper
    from ..gpt import GPT
    from ..speculate import Speculation

__all__ = ["command", "converse"]

LONGEST = 256  # tokens of a reply, unless somebody says otherwise
NAMES = {"stop_tokens": "stop_token"}  # a setting's option, where it is called otherwise


@click.command("chat")
@with_model
@with_settings(max_tokens=LONGEST)
@with_speculation
@click.option("--system", metavar="TEXT", help="A text that stays at the beginning.")
@click.option("--template", metavar="T", help="plain, chatml, llama3 ... (default: the model's).")
@with_keeping
def command(
    gpt: GPT,
    settings: dict[str, Any],
    speculation: Speculation | None,
    system: str | None,
    template: str | None,
    keeping: Keeping,
) -> None:
    """Talk with a model. What is said is kept as it is said, with every token and its
    probability: `pellucid conversations` lists it, --continue goes on with it.

    Without a terminal, each line of standard input is a message, and the replies go to standard
    output; commands such as /undo are for the terminal. Nothing is kept then, unless --store,
    --continue or --resume speaks of the store.
    """
    conversation, tree = _conversation(gpt, settings, keeping, system, template)
    conversation.speculation = speculation
    if sys.stdin.isatty() and sys.stdout.isatty():
        _talk(conversation, keeping.keeper(conversation, tree))
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A pipe or file is UTF-8, as for every verb; bytes that are no text are no traceback.
        encoding = None if sys.stdin.isatty() else "utf-8"
        sys.stdin.reconfigure(encoding=encoding, errors="replace")
    make = keeping.keeper(conversation, tree) if keeping.asked else None
    answer_lines(conversation, sys.stdin, None if make is None else make())


def converse(gpt: GPT, settings: dict[str, Any]) -> None:
    """The session in a terminal, until Ctrl-D or /quit. Nothing of it is kept."""
    _talk(_conversation(gpt, {"max_tokens": LONGEST, **settings}, Keeping(off=True))[0], None)


def _conversation(
    gpt: GPT,
    settings: dict[str, Any],
    keeping: Keeping,
    system: str | None = None,
    template: str | None = None,
) -> tuple[Conversation, Tree | None]:
    """A new one, or what goes on, and where that was read from: what was said on the command line
    changes its settings."""
    from ..chat import Conversation, drawn

    if keeping.file is None and keeping.resume is None:
        return Conversation(gpt, template, system, **drawn(gpt, settings)), None
    if template is not None:
        raise click.UsageError("--template goes with a new conversation: the file has its own")
    context = click.get_current_context()
    flags = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(NAMES.get(name, name)) is ParameterSource.COMMANDLINE
    }
    return keeping.conversation(gpt, system, flags)


def _talk(conversation: Conversation, keeper: Callable[[], Keeper] | None) -> None:
    from ..session import Session
    from .walk import walk

    Session(conversation.gpt, conversation, console(), walk=walk, keeper=keeper).run()
