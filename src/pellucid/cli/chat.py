"""`pellucid chat`: talk with a model, in a terminal or line by line from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import console as make_console
from .options import load_model, model_options, sampling_options

if TYPE_CHECKING:
    from rich.console import Console

    from ..chat import Conversation
    from ..generate import Generation

__all__ = ["command"]

HELP = """\
/undo          take back the last exchange
/retry         another reply to the last message
/system TEXT   set the system message; without TEXT, show it
/tokens        the tokens of the last exchange, and what else might have come
/walk          the last message through the whole model, with live numbers
/help          this
/quit          leave (or Ctrl-D)
A line that ends in \\ goes on in the next one. Ctrl-C stops a reply and keeps the session."""


@click.command("chat")
@model_options
@sampling_options
@click.option("--system", help="A system message, for models that know one.")
@click.option("--template", type=click.Choice(["plain", "dialogpt", "roles"]), help="Turn format.")
@click.option("--max-tokens", type=click.IntRange(1), help="Most tokens of a reply.")
@click.option("--n-ctx", type=click.IntRange(1), help="A smaller context window.")
def command(
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    system: str | None,
    template: str | None,
    **options: Any,
) -> None:
    """Talk with a model. /help lists what it knows; from a pipe, each line is a message."""
    from ..chat import Conversation

    gpt = load_model(model, backend, device, dtype, threads)
    if gpt.name == "talk" and options["temperature"] == 1.0:
        options["greedy"] = True  # it knows its sentences by heart
    conversation = Conversation(gpt, template=template, system=system, **options)
    screen = make_console()
    if sys.stdin.isatty() and sys.stdout.isatty():
        greet(conversation, screen)
        session(conversation, screen, _reader())
    else:
        session(conversation, screen, lambda: _line(sys.stdin.readline()))


def greet(conversation: Conversation, screen: Console) -> None:
    gpt = conversation.gpt
    screen.print(
        f"[bold]{gpt.name}[/]: {gpt.hparams.n_params:,} parameters, a window of "
        f"{gpt.hparams.n_ctx} tokens, template {conversation.template.name}. /help, /quit"
    )
    if gpt.name == "talk":
        screen.print(
            'It knows 24 sentences by heart and goes on from what you begin: try "The power '
            'clapper", "The crowd", "My". Then /tokens, or /walk to see how it got there.',
            style="dim",
        )


def session(conversation: Conversation, screen: Console, read: Callable[[], str | None]) -> None:
    """Messages and commands until the end of input."""
    from ..errors import PellucidError

    while (text := read()) is not None:
        text = text.strip()
        try:
            if text in ("/quit", "/exit"):
                return
            if text.startswith("/"):
                obey(text, conversation, screen)
            elif text:
                stream(conversation.say(text), conversation, screen)
        except PellucidError as error:  # the conversation goes on
            screen.print(f"{error}", style="red", markup=False)


def obey(text: str, conversation: Conversation, screen: Console) -> None:
    name, _, rest = text.partition(" ")
    if name == "/undo":
        screen.print(f"Taken back: {conversation.undo()}", style="dim", markup=False)
    elif name == "/retry":
        stream(conversation.retry(), conversation, screen)
    elif name == "/system":
        if rest.strip():
            conversation.system = rest.strip()
            if not conversation.template.remembers:
                screen.print("This model's template has no place for it.", style="dim")
        screen.print(f"System: {conversation.system or 'none'}", style="dim", markup=False)
    elif name == "/tokens":
        tokens(conversation, screen)
    elif name == "/walk":
        from .walk import walk

        said = [message.text for message in conversation.messages if message.role == "user"]
        walk(conversation.gpt, said[-1] if said else "The power clapper", screen)
    elif name == "/help":
        screen.print(HELP, markup=False)
    else:
        screen.print(f"No command {name}; /help lists them.", style="red", markup=False)


def stream(reply: Generation, conversation: Conversation, screen: Console) -> None:
    """The reply as it comes; Ctrl-C stops it and keeps what was said."""
    if conversation.notice:
        screen.print(f"({conversation.notice})", style="dim", markup=False)
    try:
        for step in reply:
            screen.print(step.text, end="", style="bold", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        screen.print("\n(stopped)", style="dim")
        return
    screen.print()
    if reply.reason != "stop token":
        screen.print(f"({reply.reason})", style="dim")


def tokens(conversation: Conversation, screen: Console) -> None:
    """The last exchange, token by token."""
    import math

    from rich.table import Table
    from rich.text import Text

    from .tokens import coloured, shown

    reply = conversation.last
    if reply is None:
        screen.print("Nothing has been said yet.", style="dim")
        return
    tokenizer = conversation.gpt.tokenizer
    screen.print(coloured(tokenizer.pieces(reply.prompt)), soft_wrap=True)
    table = Table("token", "probability", "also likely", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for step in reply.made:
        others = [a for a in step.alternatives if a.token != step.token][:3]
        also = "  ".join(
            f"{shown(tokenizer.piece(a.token).bytes)} {math.exp(a.logprob):.1%}" for a in others
        )
        piece = shown(tokenizer.piece(step.token).bytes)
        table.add_row(Text(piece, "bold"), f"{math.exp(step.logprob):.1%}", Text(also, "dim"))
    screen.print(table)


def _line(line: str) -> str | None:
    return line if line else None


def _reader() -> Callable[[], str | None]:
    """A line editor with history kept between sessions; None at the end of input."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory

    folder = Path(click.get_app_dir("pellucid"))
    history: History
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "chat-history").open("a"):
            pass
        history = FileHistory(str(folder / "chat-history"))
    except OSError:
        history = InMemoryHistory()
    editor: PromptSession[str] = PromptSession(history=history)

    def read() -> str | None:
        lines: list[str] = []
        while True:
            try:
                line = editor.prompt("... " if lines else "you> ")
            except KeyboardInterrupt:  # drop what was being typed
                lines.clear()
                continue
            except EOFError:
                return None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    return read
