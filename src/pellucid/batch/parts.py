"""A folder of rows: `_job.json`, and parts that are there whole or not at all.

What is done is what stands in the parts; nothing else is kept of a run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import Reader, new_file, write_file
from .documents import Item
from .job import Job

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Done", "begin", "known", "missing", "together", "write"]

_CARD = "_job.json"  # what reads a folder of Parquet passes such names over
_FORMAT = "pellucid batch 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """rows: computed now. before: that an earlier run had computed. bad: documents that could not
    be read, up to three of a file."""

    rows: int
    before: int
    bad: tuple[str, ...] = ()


def begin(out: Path, job: Job, gpt: GPT) -> None:
    """Make the folder, or find that it holds rows of this job.

    Raises InputError where it holds another's, or anything else, or without pyarrow.
    """
    _pyarrow()
    about: dict[str, Any] = {"format": _FORMAT, "model": _model(gpt), **job.to_dict()}
    card = out / _CARD
    if card.is_file():
        before = Reader().read_object(card)
        if odd := sorted(key for key in {*about, *before} if about.get(key) != before.get(key)):
            raise InputError(
                f"{out} holds rows of another job, which differs in {', '.join(odd)}: choose "
                "another folder"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already and holds no rows of a batch: choose another")
    out.mkdir(parents=True, exist_ok=True)
    write_file(card, (json.dumps(about, indent=2) + "\n").encode())


def _model(gpt: GPT) -> dict[str, Any]:
    """Which model it is, wherever it lies: by the numbers that are computed with."""
    from ..weights import fingerprint

    return {
        "weights": fingerprint(gpt.model.tensors()),
        "tokenizer": gpt.tokenizer.fingerprint(),
        **gpt.hparams.to_dict(),
    }


def known(out: Path) -> set[tuple[str, str]]:
    """(id, sha256) of every document that has its row. Raises InputError for a damaged part."""
    parquet = _pyarrow()
    done: set[tuple[str, str]] = set()
    for path in sorted(out.glob("part-*.parquet")):
        try:
            table = parquet.read_table(path, columns=["id", "sha256"])
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read: {error}; remove it to compute it anew"
            ) from error
        done |= set(zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True))
    return done


def missing(items: Iterable[Item], done: set[tuple[str, str]]) -> Iterator[Item]:
    """Those without a row yet, each once."""
    for item in items:
        if (key := (item.id, item.sha256)) not in done:
            done.add(key)
            yield item


def together(items: Iterable[Item], n: int) -> Iterator[list[Item]]:
    """n at a time."""
    part: list[Item] = []
    for item in items:
        part.append(item)
        if len(part) == n:
            yield part
            part = []
    if part:
        yield part


def write(out: Path, job: Job, rows: Sequence[dict[str, Any]]) -> Path:
    """One part, named after its documents: written twice it is one file."""
    parquet = _pyarrow()
    import pyarrow as pa

    digest = hashlib.sha256("".join(f"{row['id']}\0{row['sha256']}\0" for row in rows).encode())
    path = out / f"part-{digest.hexdigest()[:16]}.parquet"
    with new_file(path) as partial:
        table = pa.Table.from_pylist(list(rows), schema=job.schema())
        parquet.write_table(table, os.fspath(partial), compression="zstd")
    return path


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f'rows are Parquet files: pip install "pellucid[train]" ({error})'
        ) from error
    return pyarrow.parquet
