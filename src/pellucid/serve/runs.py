"""A request's texts in the engine, seen from the server's event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .events import Ask, Began, Ended, Event, Scored, Stopped, Waits

if TYPE_CHECKING:
    from ..sequence import Reason, Step
    from .events import Deliver
    from .watched import Watch

__all__ = ["Gone", "Piece", "Run", "Runner", "unless_gone"]

T = TypeVar("T")


class Runner(Protocol):
    """The engine, or what runs beside it (`watched.Watched`)."""

    def submit(self, ask: Ask, deliver: Deliver) -> Any: ...

    def cancel(self, ticket: Any) -> None: ...


class Gone(Exception):
    """The client has left: there is nobody to answer."""


@dataclass(slots=True, kw_only=True)
class Piece:
    """One text of a run, as far as it is generated. cached_tokens: of its prompt, found computed.
    trace: by which its values can be asked for, once it has ended. scored: what the model thought
    of the prompt, where that was asked for."""

    ask: Ask
    prompt: tuple[int, ...] = ()
    cached_tokens: int = 0
    trace: str | None = None
    scored: Scored | None = None
    steps: list[Step] = field(default_factory=list)
    reason: Reason | None = None
    ended: bool = False

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps)


class Run:
    """Several asks at once. Iterate for (which of `pieces`, event), `Ended` last for each.

    waits: set, it also yields `Waits`. on_first: called with the seconds until the first token of
    each. watch: what is seen and changed of them, where anything is. Close it, whatever happens:
    what is not finished is then given up.
    """

    def __init__(
        self,
        engine: Runner,
        asks: Sequence[Ask],
        on_first: Callable[[float], object] = lambda seconds: None,
        watch: Watch | None = None,
    ) -> None:
        """Raises what `Engine.submit` raises; then none of them is under way."""
        self.pieces = [Piece(ask=ask) for ask in asks]
        self.watch = watch
        self.waits = False
        self._engine = engine
        self._on_first = on_first
        self._begin = time.perf_counter()
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[tuple[int, Event]] = deque()
        self._ready = asyncio.Event()
        self._waking = False
        self._tickets: list[Any] = []
        try:
            for index, ask in enumerate(asks):
                self._tickets.append(engine.submit(ask, self._deliverer(index)))
        except BaseException:
            self.close()
            raise

    def _deliverer(self, index: int) -> Callable[[Event], None]:
        def deliver(event: Event) -> None:
            """On the engine's thread. Many events wake the loop once."""
            self._arrived.append((index, event))
            if not self._waking:
                self._waking = True
                self._loop.call_soon_threadsafe(self._wake)

        return deliver

    def _wake(self) -> None:
        self._waking = False
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        """Raises what ended a text other than its own end."""
        left = len(self.pieces)
        while left:
            while not self._arrived:
                self._ready.clear()
                if not self._arrived:
                    await self._ready.wait()
            index, event = self._arrived.popleft()
            piece = self.pieces[index]
            if isinstance(event, Waits):
                if not self.waits:
                    continue
            elif isinstance(event, Began):
                piece.prompt = event.sequence.prompt
                piece.cached_tokens = event.cached_tokens
                piece.trace = event.trace
            elif isinstance(event, Scored):
                piece.scored = event
            elif isinstance(event, Ended):
                piece.ended = True
                piece.reason = event.reason
                left -= 1
                if event.error is not None:
                    raise event.error
                if event.reason is None:
                    raise Stopped("the server is shutting down")
            else:
                if not piece.steps:
                    self._on_first(time.perf_counter() - self._begin)
                piece.steps.append(event)
            yield index, event

    async def finish(self) -> list[Piece]:
        """All of them, whole."""
        try:
            async for _ in self:
                pass
        finally:
            self.close()
        return self.pieces

    def close(self) -> None:
        """Give up what has not ended."""
        for piece, ticket in zip(self.pieces, self._tickets, strict=False):
            if not piece.ended:
                self._engine.cancel(ticket)


async def unless_gone(receive: Callable[[], Awaitable[Any]], work: Awaitable[T]) -> T:
    """The work's result. Raises Gone, the work given up, as soon as the client leaves.

    receive: of ASGI, after the request's body was read.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        for each in (task, leaving):
            each.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _left(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
