"""/branches and /switch: the other branches of a conversation that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..visible import on_one_line

if TYPE_CHECKING:
    from ..conversations import Message, Tree
    from .exchange import Exchange

__all__ = ["branches", "switch"]

_SHOWN = 50  # characters of a message


def branches(exchange: Exchange, _: str) -> None:
    """Each by its number and its last messages; this one is marked."""
    tree = exchange.kept_tree()
    here = {message.id for message in tree.path()}
    for number, leaf in enumerate(tree.leaves(), start=1):
        mark = "*" if leaf.id in here else " "
        exchange.writer.entry(f"{mark} {number}", _last(tree, leaf), 5)
    exchange.writer.note("/switch N goes on from the Nth; * is where you are.")


def switch(exchange: Exchange, argument: str) -> None:
    leaves = exchange.kept_tree().leaves()
    n = len(leaves)
    if not argument.isdecimal() or not 1 <= int(argument) <= n:
        raise InputError(
            f"there {'is 1 branch' if n == 1 else f'are {n} branches'}: /branches lists them"
        )
    exchange.go_to(leaves[int(argument) - 1].id)
    said = exchange.conversation.messages
    for role, text in said[-2:]:
        exchange.writer.line(f"> {text}" if role == "user" else text)
    exchange.writer.note(f"You are on branch {argument} of {n} now; the others stay.")


def _last(tree: Tree, leaf: Message) -> str:
    """The last exchange of a branch, on one line."""
    path = tree.path(leaf.id)
    texts = [_short(message.text) for message in path[-2:]]
    return " → ".join(texts) + (f"  ({leaf.id[:8]}, {len(path)} messages)")


def _short(text: str) -> str:
    line = on_one_line(text)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
