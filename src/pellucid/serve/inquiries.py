"""Questions under way: each a job beside the streams, which tells how far it is and can be given
up. What it found is kept for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..draw.notation import size
from ..inspect import OverBudget, Trace
from .beside import Cancelled, Job
from .kept import Kept, KeptLimits

if TYPE_CHECKING:
    from ..gpt import GPT
    from ..inspect import Finding
    from ..inspect.edits import Progress
    from .beside import Beside

__all__ = ["BUDGET", "Inquiries", "Inquiry", "Status"]

BUDGET = 32 << 20  # bytes of arrays in what is found

Status = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(slots=True, eq=False, kw_only=True)
class Inquiry:
    """ahead: jobs that come before it, as long as it is queued. done, total: how far it is, in its
    own steps; 0 of 0 where they are not counted. finding: once it is done. trace: by which its
    values are kept, where it found a trace. changed: called, on whatever thread, whenever something
    of this changes."""

    id: str
    owner: str
    kind: str
    created: int
    status: Status = "queued"
    ahead: int = 0
    done: int = 0
    total: int = 0
    finding: Finding | None = None
    trace: str | None = None
    error: Exception | None = None
    changed: list[Callable[[], object]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status in ("done", "failed", "cancelled")


class Inquiries:
    """beside: where they run. traces: where found traces are kept. new_id: kind -> a name."""

    def __init__(
        self,
        beside: Beside,
        traces: Kept[Trace],
        new_id: Callable[[str], str],
        limits: KeptLimits | None = None,
    ) -> None:
        self.kept: Kept[Inquiry] = Kept("job", limits, dropped=self._dropped)
        self._beside = beside
        self._traces = traces
        self._new_id = new_id
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def ask(self, owner: str, kind: str, question: Callable[[GPT, Progress], Finding]) -> Inquiry:
        """Raises Busy where too many wait, Stopped where no more is taken."""
        inquiry = Inquiry(id=self._new_id("job"), owner=owner, kind=kind, created=int(time.time()))

        def work(job: Job) -> None:
            self._change(inquiry, status="running", ahead=0)

            def progress(done: int, total: int) -> None:
                job.check()
                self._change(inquiry, done=done, total=total)

            # Numbers may overflow in a model that is what it is; the finding shows it.
            with np.errstate(all="ignore"):
                finding = question(job.gpt, progress)
            n_bytes = sum(array.nbytes for array in finding.each_array())
            if n_bytes > BUDGET:
                raise OverBudget(
                    f"the answer takes {size(n_bytes)}, more than {size(BUDGET)}: ask about a "
                    "shorter text, or about fewer layers, heads or positions"
                )
            self._finish(inquiry, finding, n_bytes)

        def waits(ahead: int) -> None:
            self._change(inquiry, ahead=ahead)

        def ended(error: Exception | None) -> None:
            with self._lock:
                self._jobs.pop(inquiry.id, None)
            if isinstance(error, Cancelled):
                self._change(inquiry, status="cancelled", ahead=0)
            elif error is not None:
                self._change(inquiry, status="failed", error=error)

        self.kept.put(owner, inquiry.id, inquiry)
        try:
            with self._lock:
                self._jobs[inquiry.id] = self._beside.submit(work, ended, waits)
        except BaseException:
            self.kept.take(owner, inquiry.id)
            raise
        return inquiry

    def get(self, owner: str, name: str) -> Inquiry:
        """Raises Missing."""
        return self.kept.get(owner, name)

    def forget(self, owner: str, name: str) -> Inquiry:
        """Give it up where it has not ended; nothing of it is kept. Raises Missing."""
        inquiry = self.kept.take(owner, name)
        self._dropped(inquiry)
        return inquiry

    def _dropped(self, inquiry: Inquiry) -> None:
        with self._lock:
            job = self._jobs.get(inquiry.id)
        if job is not None:
            self._beside.cancel(job)

    def _finish(self, inquiry: Inquiry, finding: Finding, n_bytes: int) -> None:
        if isinstance(finding, Trace):
            inquiry.trace = self._new_id("trace")
            self._traces.put(inquiry.owner, inquiry.trace, finding, n_bytes)
        else:
            self.kept.grew(inquiry.id, n_bytes)
        self._change(inquiry, status="done", finding=finding)

    @staticmethod
    def _change(inquiry: Inquiry, **values: Any) -> None:
        for name, value in values.items():
            setattr(inquiry, name, value)
        for told in tuple(inquiry.changed):
            told()
