"""The models at hand and the known sizes, with the memory that they take."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .. import embedded
from ..draw.slides import Table
from ..families import SIZES, hparams_of
from ..hparams import LIMITS, HParams
from ..visible import harmless
from .output import console, say, to_json

__all__ = ["print_models"]

_WIDE = 70  # cells that the whole table takes


def print_models(*, as_json: bool) -> None:
    from ..checkpoint import hub
    from ..checkpoint.contents import available_memory

    cached, free = hub.cached(), available_memory()
    if as_json:
        sizes = {
            size: {**h.to_dict(), "parameters": h.n_params, "bytes": _bytes(h)}
            for size, h in SIZES.items()
        }
        known = {"embedded": embedded.names(), "default": embedded.DEFAULT, "cached": cached}
        say(to_json({**known, "sizes": sizes, "free_bytes": free}), data=True)
        return
    from rich.text import Text

    from ..draw.terminal.canvas import Canvas
    from ..draw.terminal.slides import table

    screen = console()
    screen.print("Embedded (need no download): " + ", ".join(embedded.names()), markup=False)
    listed = ", ".join(cached) or "none; --model gpt2 downloads it"
    screen.print(harmless(f"In the hub's cache: {listed}"), markup=False)
    # A narrow terminal has no room for all columns; --json has them.
    left_out = () if screen.width >= _WIDE else ("n_vocab",)
    shapes = {name: _embedded(name) for name in embedded.names()} | SIZES
    rows = [
        {"model": name, "parameters": f"{h.n_params:,}"}
        | {field: f"{getattr(h, field):,}" for field in LIMITS if field not in left_out}
        for name, h in shapes.items()
    ]
    picture = Table(columns=tuple(rows[0]), rows=tuple(tuple(row.values()) for row in rows))
    for line in [Text(), *table(picture, Canvas(width=screen.width, colour=True))]:
        screen.print(line)
    named = {name: size for name, size in SIZES.items() if name not in embedded.names()}
    told, memory = _memory(named, free)
    screen.print(Text(f"\n{told}"))
    for line in table(memory, Canvas(width=screen.width, colour=True)):
        screen.print(line)


def _embedded(name: str) -> HParams:
    text = (embedded.FOLDER / name / "config.json").read_text(encoding="utf-8")
    return hparams_of(json.loads(text)["hparams"])


def _bytes(size: HParams) -> dict[str, int]:
    """By what is done with it: see `checkpoint.capacity`."""
    from ..checkpoint.capacity import KINDS, needed

    return {kind: round(needed(size, kind)) for kind in KINDS}


def _memory(sizes: Mapping[str, HParams], free: int | None) -> tuple[str, Table]:
    """-> (one line on how to read it, the table). free: bytes; None: unknown."""

    def cell(n_bytes: int) -> str:
        shown = f"{n_bytes / 2**30:,.1f}" if n_bytes >= 2**30 / 20 else "< 0.1"
        return shown if free is None or n_bytes <= free else f"({shown})"

    taken = {name: _bytes(size) for name, size in sizes.items()}
    rows = tuple((name, *map(cell, kinds.values())) for name, kinds in taken.items())
    line = "GiB of memory that they take to run, by the dtype of the weights, or to train"
    if free is not None:
        line += f" (in brackets: more than the {free / 2**30:.1f} that are free here)"
    return f"{line}:", Table(columns=("model", *next(iter(taken.values()))), rows=rows)
