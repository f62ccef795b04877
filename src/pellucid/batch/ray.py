"""The same by Ray Data: files are read and parts computed on whatever machines a cluster has.

`out`, the texts and the model are read and written by every worker: they lie on storage that all
machines share, under the same paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.files import File
from ..errors import InputError
from ..template import Message
from .documents import Item, Reading, named_files
from .job import Job
from .parts import Done, begin, known, missing, write
from .worker import Worker

__all__ = ["run"]


class _Read:
    """A file -> its documents that have no row yet."""

    def __init__(self, reading: Reading, done: set[tuple[str, str]]) -> None:
        self._reading, self._done = reading, done

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        file = File(Path(row["path"]), row["file"], int(row["size"]))
        done = set(self._done)
        for item in missing(self._reading.items(file, row["name"]), done):
            yield {"id": item.id, "text": item.text, "turns": json.dumps(item.turns)}


class _Compute:
    """An actor that holds the model: documents -> a part, which it writes itself."""

    def __init__(self, job: Job, out: Path) -> None:
        self._job, self._out = job, out
        self._worker = Worker(job, job.load())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        items = [
            Item(str(id), str(text), tuple(Message(*turn) for turn in json.loads(str(turns))))
            for id, text, turns in zip(batch["id"], batch["text"], batch["turns"], strict=True)
        ]
        write(self._out, self._job, self._worker.rows(items))
        return {"rows": [len(items)]}


def run(
    job: Job,
    texts: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    reading: Reading | None = None,
    actors: int = 1,
    cpus: int = 1,
    on_progress: Callable[[int], object] | None = None,
) -> Done:
    """As `batch.run`, over the cluster that Ray is connected to, or a local one.

    actors: how many hold the model. cpus: of each, which are its threads too. Bad documents are
    left out where `reading` says so, and are not listed. Raises InputError without Ray.
    """
    try:
        import ray.data
    except ModuleNotFoundError as error:
        raise InputError('this needs Ray: pip install "pellucid[ray,train]"') from error
    out, reading = Path(out).resolve(), reading or Reading()
    begin(out, job, job.load())
    done = known(out)
    files = [
        {"path": str(file.path.resolve()), "file": file.name, "size": file.size, "name": name}
        for file, name in named_files(texts, out)
    ]
    own = replace(job, machine={**job.machine, "threads": cpus})
    counts = (
        ray.data.from_items(files)
        .flat_map(_Read(reading, done), num_cpus=0)  # actors may hold every CPU there is
        .map_batches(
            _Compute,
            fn_constructor_args=(own, out),
            batch_size=job.rows,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=cpus,
        )
    )
    n = 0
    for row in counts.iter_rows():
        n += int(row["rows"])
        if on_progress is not None:
            on_progress(n)
    return Done(rows=n, before=len(done))
