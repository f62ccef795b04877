"""What is kept for clients to come back for: so much, for so long, each client's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import PellucidError

__all__ = ["Kept", "KeptLimits", "Missing"]

T = TypeVar("T")


class Missing(PellucidError):
    """There is nothing by this name, or no more, or it is another client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLimits:
    """count, n_bytes: of one client. total_bytes: of all. age: seconds."""

    count: int = 64
    n_bytes: int = 128 << 20
    total_bytes: int = 512 << 20
    age: float = 900.0


@dataclass(slots=True, eq=False)
class _Entry(Generic[T]):
    owner: str
    item: T
    n_bytes: int
    since: float


class Kept(Generic[T]):
    """what: it is called, in messages. dropped: called with each item that has to make room, or is
    too old. For any thread."""

    def __init__(
        self,
        what: str,
        limits: KeptLimits | None = None,
        *,
        dropped: Callable[[T], object] = lambda item: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or KeptLimits()
        self._what = what
        self._dropped = dropped
        self._clock = clock
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry[T]] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def n_bytes(self) -> int:
        with self._lock:
            return sum(entry.n_bytes for entry in self._entries.values())

    def put(self, owner: str, name: str, item: T, n_bytes: int = 0) -> None:
        """Older ones make room, the client's own first."""
        with self._lock:
            self._entries[name] = _Entry(owner, item, n_bytes, self._clock())
            self._make_room(owner)

    def grew(self, name: str, n_bytes: int) -> None:
        """An item takes so much now; it may be gone already."""
        with self._lock:
            if (entry := self._entries.get(name)) is not None:
                entry.n_bytes = n_bytes
                self._make_room(entry.owner)

    def get(self, owner: str, name: str) -> T:
        """Raises Missing."""
        with self._lock:
            self._forget_the_old()
            entry = self._entries.get(name)
            if entry is None or entry.owner != owner:
                raise Missing(f"there is no {self._what} by this name, or no more")
            return entry.item

    def take(self, owner: str, name: str) -> T:
        """Out of here. Raises Missing."""
        with self._lock:
            item = self.get(owner, name)
            del self._entries[name]
            return item

    def _make_room(self, owner: str) -> None:
        self._forget_the_old()
        limits = self.limits
        own = [name for name, entry in self._entries.items() if entry.owner == owner]
        n_bytes = sum(self._entries[name].n_bytes for name in own)
        while len(own) > limits.count or (n_bytes > limits.n_bytes and len(own) > 1):
            n_bytes -= self._drop(own.pop(0))
        while self.n_bytes > limits.total_bytes and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))

    def _forget_the_old(self) -> None:
        until = self._clock() - self.limits.age
        for name in [name for name, entry in self._entries.items() if entry.since < until]:
            self._drop(name)

    def _drop(self, name: str) -> int:
        entry = self._entries.pop(name)
        self._dropped(entry.item)
        return entry.n_bytes
