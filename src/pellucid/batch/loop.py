"""A corpus through one model, in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .documents import Reading, named_files
from .job import Job
from .parts import Done, begin, known, missing, together, write
from .worker import Worker

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["run"]


def run(
    job: Job,
    texts: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    reading: Reading | None = None,
    gpt: GPT | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Done:
    """Files, folders and globs -> rows in the folder `out`; documents that have theirs are passed
    over, so that a run that was stopped goes on where it was.

    gpt: the job's model, where it is loaded already. on_progress: told the rows written now.
    Raises InputError for what cannot be read, and where `out` holds anything but this job's rows.
    """
    out, reading = Path(out), reading or Reading()
    files = named_files(texts, out)
    gpt = gpt or job.load()
    begin(out, job, gpt)
    done = known(out)
    before, n = len(done), 0
    bad: list[str] = []
    worker = Worker(job, gpt)
    try:
        items = (item for file, name in files for item in reading.items(file, name, bad))
        for part in together(missing(items, done), job.rows):
            write(out, job, worker.rows(part))
            n += len(part)
            if on_progress is not None:
                on_progress(n)
    finally:
        worker.close()
    return Done(rows=n, before=before, bad=tuple(bad))
