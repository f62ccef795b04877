"""Inspection for the server: what runs beside the streams, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..inspect import Trace
from .beside import Beside
from .inquiries import BUDGET, Inquiries, Inquiry
from .kept import Kept, KeptLimits
from .questions import QUESTIONS
from .watched import Watch, Watched

if TYPE_CHECKING:
    from ..gpt import GPT
    from .turns import Turns

__all__ = ["Inspection"]


class Inspection:
    """turns: shared with the engine. new_id: a kind of thing -> a name for one, that nobody
    guesses. limits: of the traces kept, and of the answers."""

    def __init__(
        self,
        gpt: GPT,
        turns: Turns,
        new_id: Callable[[str], str],
        limits: KeptLimits | None = None,
    ) -> None:
        self.turns = turns
        self.beside = Beside(gpt, turns)
        self.traces: Kept[Trace] = Kept("trace", limits)
        self.inquiries = Inquiries(self.beside, self.traces, new_id, limits)
        self._new_id = new_id

    def start(self) -> None:
        self.beside.start()

    def drain(self) -> None:
        self.beside.drain()

    def stop(self, timeout: float | None = None) -> bool:
        return self.beside.stop(timeout)

    def watched(self, watch: Watch) -> Watched:
        return Watched(self.beside, self.traces, watch, partial(self._new_id, "trace"))

    def ask(
        self, owner: str, kind: str, texts: tuple[tuple[int, ...], ...], arguments: dict[str, Any]
    ) -> Inquiry:
        """A question of `QUESTIONS`, about texts as ids. Raises Busy and Stopped."""
        question = QUESTIONS[kind]
        return self.inquiries.ask(
            owner,
            kind,
            lambda gpt, progress: question.ask(
                gpt, texts, arguments, progress=progress, budget_bytes=BUDGET
            ),
        )
