"""One message and its reply in a terminal, and what a person asked to see with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from .editor import silent_keyboard
from .tokens import print_tokens
from .writer import Writer

if TYPE_CHECKING:
    from rich.console import Console

    from ..chat import Conversation
    from ..generate import Generation
    from ..gpt import GPT

__all__ = ["Exchange", "Walk"]


class Walk(Protocol):
    """Prints the whole way from a prompt to the next token."""

    def __call__(
        self, gpt: GPT, text: Sequence[int], console: Console, *, max_tokens: int | None
    ) -> None: ...


class Exchange:
    """What the commands of a session change: the conversation, and what is shown and kept of it.

    walk: what /walk prints. show_tokens: after each reply. record_to: the file that each reply's
    values go to, or None.
    """

    def __init__(
        self, gpt: GPT, conversation: Conversation, screen: Console, *, walk: Walk
    ) -> None:
        self.gpt = gpt
        self.conversation = conversation
        self.screen = screen
        self.writer = Writer(screen)
        self.walk = walk
        self.show_tokens = False
        self.record_to: str | None = None
        self._lost = 0  # turns that the model did not see the last time

    @property
    def greedy(self) -> bool:
        """Whether every reply takes the likeliest token."""
        sampling = self.conversation.settings.sampling
        return sampling.greedy or sampling.temperature == 0

    def write(self, reply: Generation, begin: str = "") -> bool:
        """A reply as it comes, behind what it begins with. False where it was broken off."""
        try:
            with silent_keyboard():
                if begin:
                    self.writer.write(begin, style="dim")
                for step in reply:
                    self.writer.write(step.text)
        except KeyboardInterrupt:
            self.writer.end()
            return False
        self.writer.end()
        return True

    def stream(self, message: str, reply: Generation) -> None:
        """The reply as it comes; a plain model's after the text that it goes on from."""
        writer = self.writer
        notice, lost = self.conversation.notice, self.conversation.lost
        if notice and not (lost and self._lost):  # that turns are lost is said once
            writer.note(f"Note: {notice}" + (", and so on from here" if lost else ""))
        self._lost = lost
        plain = self.conversation.template.name == "plain"
        if not self.write(reply, message.rpartition("\n")[2] if plain else ""):
            writer.note("Stopped; what was said so far stays. /undo takes it back.")
            return
        if not reply.so_far.strip():
            writer.note(f"The model had nothing to say ({reply.reason}).")
        elif reply.reason in ("context window full", "length"):
            writer.note(f"({reply.reason})")
        if self.show_tokens:
            self.print_tokens(reply)
        self._keep_record(reply)

    def _keep_record(self, reply: Generation) -> None:
        from ..files import new_file
        from ..inspect import Recorder

        recorder = reply.record
        if self.record_to is None or not isinstance(recorder, Recorder) or not reply.steps_so_far:
            return
        with new_file(self.record_to) as partial:
            recorder.trace(reply).save(partial)
        self.writer.note(f"The values of this reply are in {self.record_to}.")

    def print_tokens(self, reply: Generation) -> None:
        print_tokens(self.screen, self.gpt.tokenizer, reply)
