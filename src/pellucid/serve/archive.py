"""The store of conversations for the server: on a thread of its own, opened when it is first used.

What a disk or another program makes slow holds up neither the event loop nor the engine. A reply
that cannot be written waits here, and is tried again before whatever is asked of the store next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..conversations import Store
from ..errors import InputError, StoreError
from .errors import ApiError
from .events import Busy

__all__ = ["Archive"]

T = TypeVar("T")
Write = Callable[[Store], object]

WAIT = 2.0  # seconds that another program may hold the store
MOST_ASKED = 64  # uses of the store that wait for one another
MOST_WAITING = 64  # replies that could not be written yet


class Archive:
    """path: of the store; None is the person's own. off: there is none here."""

    def __init__(self, path: Path | None = None, *, off: bool = False) -> None:
        self._path = path
        self._off = off
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._waiting: deque[Write] = deque()
        self._n_asked = 0

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
            self._catch_up(store)
            return work(store)

        self._n_asked += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(do))
        finally:
            self._n_asked -= 1

    def keep(self, write: Write) -> Future[str | None]:
        """Whoever asks for it may leave: it is written all the same, and where it cannot be it
        waits -> why it could not, or None."""

        def do() -> str | None:
            self._waiting.append(write)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
            try:
                return self._catch_up(self._opened())
            except (StoreError, OSError) as error:
                return str(error)

        try:
            return self._thread.submit(do)
        except RuntimeError:  # it is closed: the server ends, and this is the last there is
            done: Future[str | None] = Future()
            done.set_result(do())
            self._close_store()
            return done

    def close(self) -> None:
        """Once everything that was asked for is done."""
        self._thread.shutdown(wait=True)
        if self._waiting:
            self.keep(lambda store: None)
        self._close_store()

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store.open(self._path, wait=WAIT)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _catch_up(self, store: Store) -> str | None:
        """Write what waits, in its order -> why some of it is not in the store, or None."""
        problem = None
        while self._waiting:
            try:
                self._waiting[0](store)
            except InputError as error:  # another program has deleted the conversation
                problem = str(error)
            except (StoreError, OSError) as error:
                return str(error)
            self._waiting.popleft()
        return problem
