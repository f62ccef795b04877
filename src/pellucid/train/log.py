"""A run's log: OUT/log.jsonl, one line a step. It is for display; no run needs it to go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_file

__all__ = ["LOG", "StepReport", "Tail", "append", "read_log", "reports", "rewind"]

LOG = "log.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step done. step counts from 1; loss as the run's labels call it, before the step; norm
    of the whole gradient before clipping; outlier: how many deviations the loss lies from the
    last 128 (None for the first of them); validation_loss where it was measured. measures: what
    else the run's task measures, by name."""

    step: int
    loss: float
    norm: float
    rate: float
    tokens: int
    seconds: float
    outlier: float | None = None
    validation_loss: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)


def append(run: Path, report: StepReport) -> None:
    with open(run / LOG, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(report)) + "\n")


def rewind(run: Path, step: int) -> None:
    """Leave out the steps after that one: they will be taken again. What was there stays whole
    until the shorter log takes its place."""
    kept = [line for line in _lines(run / LOG) if line["step"] <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_file(run / LOG, text.encode())


def reports(run: Path) -> list[StepReport]:
    """Every step that the log tells of; none where there is no log."""
    return _reports(_lines(run / LOG))


def _reports(lines: Iterable[dict[str, Any]]) -> list[StepReport]:
    known = StepReport.__dataclass_fields__
    return [
        StepReport(**{name: value for name, value in line.items() if name in known})
        for line in lines
        if {"norm", "rate", "tokens", "seconds"} <= set(line)
    ]


class Tail:
    """A log that grows, read on from where it was read before."""

    def __init__(self, run: Path) -> None:
        self._path, self._at, self._rest = run / LOG, 0, b""

    def news(self) -> list[StepReport]:
        """The steps that were added; all of them where the log became shorter, as when its run
        went back to a checkpoint. None where there is no log."""
        if not self._path.is_file():
            return []
        with open(self._path, "rb") as file:
            if file.seek(0, os.SEEK_END) < self._at:
                self._at, self._rest = 0, b""
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return _reports(_parsed(b"\n".join(whole).decode("utf-8", "replace")))


def read_log(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One dict a step: the fields of `StepReport`. A line cut short by a crash is left out.

    Raises InputError where there is no log, or where no step is in it.
    """
    path = Path(run) / LOG
    if not path.is_file():
        raise InputError(f"{run} is no training run: there is no {path}")
    steps = _lines(path)
    if not steps:
        raise InputError(f"{path} has no step in it: nothing to draw yet")
    return steps


def _lines(path: Path) -> list[dict[str, Any]]:
    return _parsed(path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "")


def _parsed(text: str) -> list[dict[str, Any]]:
    """The lines that are whole."""
    steps = []
    for line in text.split("\n"):
        try:
            step = json.loads(line)
            float(step["loss"]), int(step["step"])
        except (ValueError, KeyError, TypeError):
            continue
        steps.append(step)
    return steps
