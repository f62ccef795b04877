"""The slash commands: one table, and what each does. /help is made from it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["ALIASES", "COMMANDS", "Command"]


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


def _system(exchange: Exchange, text: str) -> None:
    exchange.conversation.system = text
    exchange.writer.note(
        "The system text is set, from the next message on. A model that was not trained with "
        "one may pass over it."
        if text
        else "There is no system text now."
    )


def _tokens(exchange: Exchange, _: str) -> None:
    exchange.show_tokens = not exchange.show_tokens
    if not exchange.show_tokens:
        exchange.writer.note("Tokens are hidden again.")
        return
    if exchange.conversation.last is not None:
        exchange.print_tokens(exchange.conversation.last)
    exchange.writer.note("Tokens are shown after each reply; /tokens hides them.")


def _walk(exchange: Exchange, _: str) -> None:
    if exchange.conversation.last is None:
        raise InputError("there is no prompt to walk through yet: say something first")
    few = None if exchange.conversation.newest_only else 4  # not until a large window is full
    exchange.walk(exchange.gpt, exchange.conversation.last.prompt, exchange.screen, max_tokens=few)


def _why(exchange: Exchange, _: str) -> None:
    reply = exchange.conversation.last
    if reply is None or not reply.steps_so_far:
        raise InputError("there is no reply to explain yet: say something first")
    from ..inspect import why

    explained = why(exchange.gpt, reply.prompt, [reply.steps_so_far[0].token], labels=False)
    exchange.screen.print(explained)


def _steer(exchange: Exchange, argument: str) -> None:
    from ..inspect import direction, steer

    if not argument:
        exchange.conversation.tap = None
        exchange.writer.note("The replies are not steered any more.")
        return
    first, _, rest = argument.partition(" ")
    strength, text = 1.0, argument
    with suppress(ValueError):
        strength, text = float(first), rest.strip()
    layer = exchange.gpt.hparams.n_layer // 2
    start = exchange.gpt.tokenizer.end_of_text
    vector = direction(exchange.gpt, text, " " if start is None else [start], layer)
    exchange.conversation.tap = steer(exchange.gpt, vector, layer, strength=strength)
    exchange.writer.note(f"Steered towards {text!r} at layer {layer}, strength {strength:g}.")


def _record(exchange: Exchange, path: str) -> None:
    from ..files import new_file
    from ..inspect import Recorder

    if path:
        with new_file(path):
            pass  # whether it can be written is known now, not after the reply
    exchange.record_to = path or None
    exchange.conversation.record = Recorder(exchange.gpt) if path else None
    exchange.writer.note(
        f"From now on each reply's values go to {path}, in place of the one before."
        if path
        else "Values are not recorded any more."
    )


def _help(exchange: Exchange, _: str) -> None:
    for name, command in COMMANDS.items():
        usage = f"{name} {command.argument or ''}"
        exchange.writer.line(f"  {usage:<13} {command.summary}")
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
    "/system": Command(
        argument="TEXT",
        summary="set the text that stays at the beginning (without TEXT: remove it)",
        run=_system,
    ),
    "/tokens": Command(
        summary="show the tokens of each reply with their probabilities, or hide them", run=_tokens
    ),
    "/walk": Command(
        summary="the whole way from the last prompt to the next token, with live numbers",
        run=_walk,
    ),
    "/why": Command(
        summary="which tokens and heads made it begin its last reply as it did", run=_why
    ),
    "/steer": Command(
        argument="TEXT",
        summary="steer the replies towards a text; /steer 2 TEXT twice as strongly (alone: off)",
        run=_steer,
    ),
    "/record": Command(
        argument="FILE",
        summary="keep the values of each reply in a file for `pellucid trace` (alone: stop)",
        run=_record,
    ),
    "/help": Command(summary="this list", run=_help),
    "/quit": Command(argument="", summary="leave; /exit and Ctrl-D do so too", run=_quit),
}
ALIASES = {"/exit": "/quit"}
