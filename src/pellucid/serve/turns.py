"""Whose turn it is to compute: the streams' steps, and between them slices of work beside.

Two cores are soon full. Who waits for a stream's next token must not wait for another's sweep
over 1,024 positions: such work runs in slices of milliseconds, and beside streams for a share of
their time only. Where no stream runs it has the machine for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Turns"]

_REST = 0.05  # seconds without a step after which there are no streams


class Turns:
    """share: of the streams' time, which work beside them may add.

    Between two steps of the streams it adds this share of the last one, or one slice where that is
    longer: another slice begins only if as long a one as of late still fits. What a slice took
    beyond its time is paid for in the next turns.
    """

    def __init__(self, share: float = 0.25) -> None:
        self.share = share
        self._lock = threading.Condition()
        self._computing = False
        self._wanted = False  # a step waits
        self._credit = 0.0  # seconds that slices may still take
        self._first = True  # no slice has run since the last step
        self._usual = 0.0  # seconds of a long slice, of late
        self._last_step = -_REST
        self._jobs = 0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Held around a step of the streams."""
        with self._lock:
            # First what work beside has coming to it since the last step.
            self._lock.wait_for(lambda: not self._jobs or not self._fits(), self._credit)
            self._wanted = True
            self._lock.wait_for(lambda: not self._computing)
            self._computing, self._wanted = True, False
        begin = time.perf_counter()
        try:
            yield
        finally:
            now = time.perf_counter()
            with self._lock:
                self._computing = False
                self._last_step = now
                self._first = True
                owed = min(0.0, self._credit)
                self._credit = owed + self.share * (now - begin) if self._jobs else 0.0
                self._lock.notify_all()

    @contextmanager
    def job(self) -> Iterator[None]:
        """Held around a whole piece of work beside the streams."""
        with self._lock:
            self._jobs += 1
        try:
            yield
        finally:
            with self._lock:
                self._jobs -= 1
                self._lock.notify_all()

    @contextmanager
    def slice(self) -> Iterator[None]:
        """Held, within a job, around a few milliseconds of computing."""
        with self._lock:
            while self._computing or self._wanted or not self._may():
                self._lock.wait(_REST)
            self._computing = True
        begin = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._computing = False
                took = time.perf_counter() - begin
                self._credit -= took
                self._usual = max(took, 0.9 * self._usual)
                self._first = False
                self._lock.notify_all()

    def _may(self) -> bool:
        return self._fits() or time.perf_counter() - self._last_step > _REST

    def _fits(self) -> bool:
        return self._credit > 0 and (self._first or self._usual <= self._credit)
