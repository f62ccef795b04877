"""The slash commands: one table, and what each does. /help is made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..sampling import DRAWING
from . import looks
from .branch import branch
from .branches import branches, switch
from .settings import change, listed

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["ALIASES", "COMMANDS", "ELSEWHERE", "Command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """summary: its line in /help. run: takes what was typed after the name. argument: how
    /help calls that, or None where nothing may follow."""

    summary: str
    run: Callable[[Exchange, str], None]
    argument: str | None = None


def _undo(exchange: Exchange, _: str) -> None:
    exchange.writer.note(f"Taken back: {_beginning(exchange.conversation.undo())}")


def _retry(exchange: Exchange, _: str) -> None:
    reply = exchange.conversation.retry()
    messages = [each.text for each in exchange.conversation.messages if each.role == "user"]
    exchange.writer.note(
        f"Another reply to: {_beginning(messages[-1])}"
        + (" (It always takes the likeliest token: the same again.)" if exchange.greedy else "")
    )
    exchange.stream(messages[-1], reply)


def _edit(exchange: Exchange, text: str) -> None:
    if not text:
        raise InputError("say what your last message is to be instead: /edit TEXT")
    exchange.stream(text, exchange.conversation.edit(text))


def _system(exchange: Exchange, text: str) -> None:
    exchange.conversation.system = text
    exchange.writer.note(
        "The system text is set, from the next message on."
        if text
        else "There is no system text now."
    )
    if note := exchange.conversation.system_note:
        exchange.writer.note(f"Note: {note}.")


def _set(exchange: Exchange, argument: str) -> None:
    name, _, value = argument.partition(" ")
    if value.strip():
        change(exchange.conversation, name, value.strip())
        if exchange.conversation.settings.sampling.greedy and name in DRAWING:
            exchange.writer.note("greedy is on, so this changes nothing: /set greedy no")
    for each, shown in listed(exchange.conversation, name).items():
        exchange.writer.entry(each, shown, 18)


def _new(exchange: Exchange, _: str) -> None:
    before = exchange.kept_as
    exchange.anew()
    kept = ["settings"]
    kept += ["system text"] if exchange.conversation.system else []
    kept += ["steering"] if exchange.conversation.tap else []
    exchange.writer.note(f"Begun afresh; {' and '.join(kept)} stay as they are.")
    if before:
        exchange.writer.note(f"The other is kept: `pellucid chat --resume {before[:8]}`.")


def _save(exchange: Exchange, path: str) -> None:
    if not path:
        raise InputError("name a file for the conversation: /save talk.json")
    transcript = exchange.conversation.transcript()
    if not transcript.turns:
        raise InputError("there is nothing to save: nothing was said yet")
    transcript.save(path)
    exchange.writer.note(
        f"Saved to {path}. `pellucid chat --continue {path}` goes on from there, "
        f"`pellucid why --chat {path}` explains its last reply."
    )


def _help(exchange: Exchange, _: str) -> None:
    for name, command in COMMANDS.items():
        exchange.writer.entry(f"{name} {command.argument or ''}", command.summary, 16)
    exchange.writer.line(END_OF_HELP)


def _quit(exchange: Exchange, _: str) -> None:
    raise EOFError


def _beginning(text: str) -> str:
    return (text.splitlines() or [""])[0][:60]


END_OF_HELP = """\
Ctrl-C stops a reply. Alt+Enter, a backslash at a line's end, or \"\"\" … \"\"\" make more lines.
A message that begins with a slash: type two."""

COMMANDS: dict[str, Command] = {
    "/undo": Command(summary="take back the last message and its reply", run=_undo),
    "/retry": Command(summary="another reply to the last message", run=_retry),
    "/edit": Command(
        argument="TEXT",
        summary="say this in place of the last message, and get another reply",
        run=_edit,
    ),
    "/branch": Command(
        argument="N TOKEN",
        summary="another way from the Nth token of the last reply (without TOKEN: drawn again)",
        run=branch,
    ),
    "/branches": Command(
        summary="list the branches: what /edit, /retry, /branch and /undo left stays", run=branches
    ),
    "/switch": Command(
        argument="N", summary="go on from the Nth of them, as /branches numbers them", run=switch
    ),
    "/new": Command(summary="begin afresh", run=_new),
    "/save": Command(
        argument="FILE",
        summary="keep the conversation for `pellucid chat --continue FILE`",
        run=_save,
    ),
    "/set": Command(
        argument="NAME VALUE",
        summary="change a setting of the replies, such as temperature (alone: show them all)",
        run=_set,
    ),
    "/system": Command(
        argument="TEXT",
        summary="set the text that stays at the beginning (without TEXT: remove it)",
        run=_system,
    ),
    "/tokens": Command(
        summary="show the tokens of each reply with their probabilities, or hide them",
        run=looks.tokens,
    ),
    "/walk": Command(
        summary="the whole way from the last prompt to the next token, step by step",
        run=looks.walk,
    ),
    "/why": Command(
        argument="N",
        summary="why it said the Nth token of its last reply (alone: the first)",
        run=looks.why,
    ),
    "/view": Command(
        argument="FILE",
        summary="the last prompt from every side, as a page for a browser: /view talk.html",
        run=looks.view,
    ),
    "/steer": Command(
        argument="TEXT",
        summary="steer the replies towards a text; /steer 0.4 TEXT more strongly (alone: off)",
        run=looks.steer,
    ),
    "/record": Command(
        argument="FILE",
        summary="keep the values of each reply in a file for `pellucid trace` (alone: stop)",
        run=looks.record,
    ),
    "/help": Command(summary="this list", run=_help),
    "/quit": Command(argument="", summary="leave; /exit and Ctrl-D do so too", run=_quit),
}
ALIASES = {"/exit": "/quit"}
# What other programs call what happens elsewhere here.
ELSEWHERE = dict.fromkeys(
    ("/continue", "/load", "/open", "/resume"),
    "leave, and `pellucid chat --continue FILE` goes on with what /save kept, `pellucid chat "
    "--resume ID` with what `pellucid conversations list` shows",
)
