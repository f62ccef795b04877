"""A conversation in a terminal: what was typed is a message, or a command of the table."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..errors import PellucidError
from .commands import ALIASES, COMMANDS, ELSEWHERE
from .editor import editor, silent_keyboard, unquoted
from .exchange import Exchange, Walk
from .greeting import greet

if TYPE_CHECKING:
    from rich.console import Console

    from ..chat import Conversation
    from ..conversations.keeper import Keeper
    from ..gpt import GPT

__all__ = ["Session"]


class Session:
    """walk: what /walk prints. keeper: makes what keeps the conversation, once something was said;
    None keeps nothing.

    `exchange` is what the commands work on: the conversation, the screen and the writer.
    """

    def __init__(
        self,
        gpt: GPT,
        conversation: Conversation,
        screen: Console,
        *,
        walk: Walk,
        keeper: Callable[[], Keeper] | None = None,
    ) -> None:
        self.conversation = conversation
        self.exchange = Exchange(gpt, conversation, screen, walk=walk, keeper=keeper)
        self._writer = self.exchange.writer

    def run(self) -> None:
        """The greeting, and then one line after another, until Ctrl-D or /quit."""
        greet(self.exchange)
        lines = editor()
        try:
            while True:
                try:
                    self.handle(unquoted(lines.prompt("> ")))
                except EOFError:
                    break
                except KeyboardInterrupt:
                    self._writer.note("Stopped. Ctrl-D leaves.")
                except PellucidError as error:
                    self._writer.line(f"Error: {error}", style="red")
        finally:
            self.exchange.close()
        if kept := self.exchange.kept_as:
            self._writer.note(f"Kept: `pellucid chat --resume {kept[:8]}` goes on from here.")

    def handle(self, text: str) -> None:
        """One message or command. Raises EOFError where it ends the session."""
        bare = text.strip()
        if not bare:
            return
        if not bare.startswith("/") or bare.startswith("//"):
            text = text.replace("//", "/", 1) if bare.startswith("//") else text
            self.exchange.stream(text, self.conversation.say(text))
            return
        name, *rest = bare.split(maxsplit=1)
        argument = rest[0].strip() if rest else ""
        command = COMMANDS.get(ALIASES.get(name, name))
        if command is None:
            if name in ELSEWHERE:
                self._writer.note(f"There is no {name} within a chat: {ELSEWHERE[name]}.")
                return
            near = get_close_matches(name, COMMANDS, n=1, cutoff=0.7)
            hint = f", did you mean {near[0]}?" if near else ";"
            self._writer.note(f"There is no {name}{hint} /help lists the commands.")
        elif argument and command.argument is None:
            self._writer.note(f"{name} stands alone; to say this to the model, type /{bare}")
        else:
            with silent_keyboard():
                command.run(self.exchange, argument)
            self.exchange.keep()
