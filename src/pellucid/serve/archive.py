"""The store of conversations for the server: on a thread of its own, opened when it is first used.

What a disk or another program makes slow holds up neither the event loop nor the engine. A reply
that cannot be written waits here, and is tried again before whatever is asked of the store next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..conversations import Store
from ..errors import InputError, StoreError
from .errors import ApiError
from .events import Busy

__all__ = ["Archive"]

T = TypeVar("T")
WAIT = 2.0  # seconds that another program may hold the store
MOST_ASKED = 64  # uses of the store that wait for one another
MOST_WAITING = 64  # replies that could not be written yet


@dataclass(slots=True, eq=False)
class _Write:
    """problem: why it is not in the store, or None."""

    write: Callable[[Store], object]
    problem: str | None = None


class Archive:
    """path: of the store; None is the person's own. off: there is none here."""

    def __init__(self, path: Path | None = None, *, off: bool = False) -> None:
        self._path = path
        self._off = off
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._waiting: deque[_Write] = deque()
        self._n_asked = 0

    @property
    def off(self) -> bool:
        """Whether nothing is kept here."""
        return self._off

    @property
    def is_open(self) -> bool:
        return self._store is not None

    @property
    def n_waiting(self) -> int:
        """Replies that could not be written yet."""
        return len(self._waiting)

    async def ask(self, work: Callable[[Store], T]) -> T:
        """What `work` returns. Raises what it raises, ApiError where there is no store here, Busy
        where too much is asked of it already, StoreError where it cannot be opened."""
        if self._off:
            raise ApiError(
                404,
                "this server keeps no conversations: it was started with --no-store; "
                "/v1/chat/completions answers without a store",
                code="no_store",
            )
        if self._n_asked >= MOST_ASKED:
            raise Busy(self._n_asked, WAIT)

        def do() -> T:
            store = self._opened()
            with suppress(StoreError, OSError):
                self._catch_up(store)
            return work(store)

        self._n_asked += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(do))
        finally:
            self._n_asked -= 1

    def keep(self, write: Callable[[Store], object]) -> Future[str | None]:
        """Whoever asks for it may leave: it is written all the same, and where it cannot be it
        waits -> why it could not, or None."""
        done: Future[str | None] = Future()
        if len(self._waiting) >= MOST_WAITING:
            done.set_result(f"{MOST_WAITING} replies wait for the store already")
            return done
        mine = _Write(write)
        self._waiting.append(mine)

        def do() -> str | None:
            try:
                self._catch_up(self._opened())
            except (StoreError, OSError) as error:
                mine.problem = str(error)
            return mine.problem

        try:
            return self._thread.submit(do)
        except RuntimeError:  # it is closed: the server ends, and this is the last there is
            done.set_result(do())
            self._close_store()
            return done

    def close(self) -> None:
        """What waits is tried a last time; what was only asked is given up."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._waiting:
            with suppress(StoreError, OSError):
                self._catch_up(self._opened())
        self._close_store()

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store.open(self._path, wait=WAIT)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _catch_up(self, store: Store) -> None:
        """Write what waits, in its order. Raises StoreError and OSError where that cannot be."""
        while self._waiting:
            first = self._waiting[0]
            try:
                first.write(store)
            except InputError as error:  # another program has deleted the conversation
                first.problem = str(error)
            self._waiting.popleft()
