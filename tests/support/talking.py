"""Terminal sessions without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pellucid.chat import Conversation
from pellucid.cli.walk import walk as cli_walk
from pellucid.gpt import GPT
from pellucid.session import Session
from support.screen import screen, text_of

__all__ = ["session"]


def session(
    gpt: GPT, walk: Any = None, greedy: bool = False, **settings: Any
) -> tuple[Session, Callable[[], str]]:
    """A session, and a function that says what it printed since it was last asked.

    walk: what /walk prints; the command line's where none is given. settings: of its replies.
    """
    console = screen(100)
    conversation = Conversation(gpt, **settings, **({"greedy": True} if greedy else {}))
    chat = Session(gpt, conversation, console, walk=walk or cli_walk)
    return chat, lambda: text_of(console)
