"""One message and its reply in a terminal, and what a person asked to see with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ..draw.notation import ended
from ..errors import InputError
from .editor import silent_keyboard
from .tokens import print_tokens
from .writer import Writer

if TYPE_CHECKING:
    from rich.console import Console

    from ..chat import Conversation
    from ..conversations import Tree
    from ..conversations.keeper import Keeper
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

    walk: what /walk prints. keeper: makes what keeps the conversation, once something was said;
    None keeps nothing. show_tokens: after each reply. record_to: the file that each reply's
    values go to, or None.
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
        self.gpt = gpt
        self.conversation = conversation
        self.screen = screen
        self.writer = Writer(screen)
        self.walk = walk
        self.show_tokens = False
        self.record_to: str | None = None
        self._make_keeper = keeper
        self._keeper = keeper() if keeper is not None and conversation.turns else None
        self._problem: str | None = None  # of keeping, as it was said last
        self._lost = 0  # turns that the model did not see the last time

    @property
    def greedy(self) -> bool:
        """Whether every reply takes the likeliest token."""
        sampling = self.conversation.settings.sampling
        return sampling.greedy or sampling.temperature == 0

    @property
    def is_kept(self) -> bool:
        return self._make_keeper is not None

    @property
    def kept_as(self) -> str | None:
        """The id of the conversation in the store, once something of it is kept."""
        return None if self._keeper is None or self._keeper.problem else self._keeper.id

    def keep(self) -> None:
        """What was said since the last time; that it cannot be kept is said once."""
        if self._make_keeper is None or (self._keeper is None and not self.conversation.turns):
            return
        if self._keeper is None:
            self._keeper = self._make_keeper()
        self._keeper.keep()
        problem = self._keeper.problem
        if problem and problem != self._problem:
            self.writer.note(
                f"Note: this conversation is not kept: {problem}. It goes on, and is tried again "
                "with whatever you say next; /save FILE keeps it elsewhere."
            )
        elif self._problem and not problem:
            self.writer.note("Note: all of this conversation is kept now.")
        self._problem = problem

    def anew(self) -> None:
        """What is said from now on is another conversation."""
        self.conversation.clear()
        if self._keeper is not None:
            self._keeper.anew()

    def kept_tree(self) -> Tree:
        """This conversation with all its branches. Raises InputError where it is not kept."""
        if self._make_keeper is None:
            raise InputError("nothing is kept here: there are no other branches")
        self._keeper = self._keeper or self._make_keeper()
        return self._keeper.tree()

    def go_to(self, leaf: str) -> None:
        """Go on from this message, of `kept_tree`."""
        if self._keeper is not None:
            self._keeper.go_to(leaf)

    def close(self) -> None:
        self.keep()
        if self._keeper is not None:
            self._keeper.close()

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
        self.keep()  # the message, whatever becomes of the reply
        try:
            whole = self.write(reply, message.rpartition("\n")[2] if plain else "")
        finally:
            self.keep()
        if not whole:
            writer.note("Stopped; what was said so far stays. /undo takes it back.")
            return
        if not reply.so_far.strip():
            writer.note(f"The model had nothing to say ({reply.reason}).")
        elif reply.reason in ("context window full", "length"):
            writer.note(f"({_ended(reply)})")
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


def _ended(reply: Generation) -> str:
    """Why it is not whole, and what would let it be longer."""
    if reply.reason == "length":
        return f"cut off after {len(reply.steps_so_far)} tokens: /set max_tokens allows more"
    return ended(reply.reason)
