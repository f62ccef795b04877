"""Work that watches or changes values, beside the streams: traced and edited generations, sweeps.

It has a cache of its own, so nothing that it computes is ever served to another; and it computes
in slices, so that nobody who waits for a token waits for it (`turns`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..backend.sliced import SlicedBackend
from ..gpt import GPT
from .events import Busy, Stopped
from .turns import Turns

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["Beside", "Cancelled", "Job"]

# The work itself; what it raises is its error.
Work = Callable[["Job"], None]


class Cancelled(Exception):
    """Raised inside a job that was given up, at its next slice."""


@dataclass(slots=True, eq=False)
class Job:
    """gpt: the model, which computes in slices and ends with the job. ended: called once, on the
    thread that ran it: None, or what went wrong; `Cancelled` where it was given up. waits: called,
    on whatever thread, with how many jobs come before it, whenever that changes."""

    gpt: GPT
    work: Work
    ended: Callable[[Exception | None], None]
    waits: Callable[[int], object]
    ahead: int = 0  # jobs that come before it, as it was told
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises Cancelled where it was given up; called before every slice."""
        if self.cancelled.is_set():
            raise Cancelled


class Beside:
    """Runs jobs one after the other on a thread of its own.

    gpt: the model whose weights they read. turns: shared with the engine. max_waiting: jobs that
    wait for the one that runs.
    """

    def __init__(self, gpt: GPT, turns: Turns, *, max_waiting: int = 16) -> None:
        self.gpt = gpt
        self.turns = turns
        self.max_waiting = max_waiting
        self._job: Job | None = None
        self._model = self._sliced(gpt.model)
        self._lock = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._draining = self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        return self._job is not None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
        self._thread.start()

    def submit(
        self,
        work: Work,
        ended: Callable[[Exception | None], None],
        waits: Callable[[int], object] = lambda ahead: None,
    ) -> Job:
        """Raises Busy where too many wait, Stopped where no more is taken."""
        gpt = GPT(
            self._model,
            self.gpt.tokenizer,
            card=self.gpt.card,
            template=self.gpt.template,
            name=self.gpt.name,
            roles=self.gpt.roles,
        )
        job = Job(gpt, work, ended, waits)
        with self._lock:
            if self._draining or self._stopping or self._thread is None:
                raise Stopped("no more is taken")
            if len(self._waiting) >= self.max_waiting:
                raise Busy(len(self._waiting), 5.0)
            self._waiting.append(job)
            self._tell()
            self._lock.notify()
        return job

    def cancel(self, job: Job) -> None:
        """It ends at its next slice; one that waits ends at once. It may have ended already."""
        job.cancelled.set()
        with self._lock:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
            self._tell()
        job.ended(Cancelled())

    def drain(self) -> None:
        """Take no more; what is under way goes on to its end."""
        self._draining = True

    def stop(self, timeout: float | None = None) -> bool:
        """Cancel everything and end the thread; whether it ended in so many seconds."""
        with self._lock:
            self._stopping = True
            waiting, running = list(self._waiting), self._job
            self._lock.notify()
        for job in [*waiting, *([running] if running else [])]:
            self.cancel(job)
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                self._job = job = self._waiting.popleft()
                self._tell()
            error: Exception | None = None
            try:
                with self.turns.job():
                    job.check()
                    job.work(job)
            except Exception as caught:
                error = caught
            self._job = None
            job.ended(error)

    def _tell(self) -> None:
        """Those that wait, how many come before them; the one that runs is one of these."""
        for ahead, job in enumerate(self._waiting, start=self.busy):
            if job.ahead != ahead:
                job.ahead = ahead
                job.waits(ahead)

    def _sliced(self, model: Model) -> Model:
        backend: Any = model.backend
        # Another machine's passes are short, or cannot be divided: they run as they are.
        if backend.name == "numpy":
            return replace(model, backend=SlicedBackend(backend, self._slice))
        if backend.name == "native":
            from ..backend.sliced_native import SlicedNativeBackend

            return replace(model, backend=SlicedNativeBackend(backend, self._slice))
        return model

    @contextmanager
    def _slice(self) -> Iterator[None]:
        if self._job is not None:
            self._job.check()
        with self.turns.slice():
            yield
