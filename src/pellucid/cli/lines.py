"""A chat without a terminal: each line is a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ..errors import StoreError
from ..visible import harmless
from .output import say

if TYPE_CHECKING:
    from ..chat import Conversation
    from ..conversations.keeper import Keeper

__all__ = ["answer_lines"]


def answer_lines(
    conversation: Conversation, lines: Iterable[str], keeper: Keeper | None = None
) -> None:
    """One message a line, one reply after another; notices to standard error.

    Raises StoreError at the end where something could not be kept.
    """
    keep = keeper.keep if keeper is not None else lambda: None
    if conversation.system_note:
        say(f"Note: {conversation.system_note}", err=True)
    try:
        for line in lines:
            if not (text := line.rstrip("\r\n")):
                continue
            reply = conversation.say(text)
            keep()
            if conversation.notice:
                say(f"Note: {conversation.notice}", err=True)
            for step in reply:
                click.echo(harmless(step.text), nl=False)
            click.echo()
            keep()
    finally:
        if keeper is not None:
            keeper.close()
    if keeper is not None and keeper.problem:
        raise StoreError(f"not all was kept: {keeper.problem}")
