"""The compiled backend's weights, packed once and kept beside the checkpoint they come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .backend.native import Packed, Stored
from .checkpoint import Checkpoint, load, packed
from .checkpoint.source import find
from .model import Model
from .weights import flatten

__all__ = ["load_packed"]


def load_packed(
    source: str | os.PathLike[str],
    machine: Any,
    on_kept: Callable[[Path], None] | None = None,
) -> tuple[Checkpoint, Model]:
    """source: as for `checkpoint.load`. machine: a `NativeBackend`. on_kept: told of a file that
    was written.

    What is kept is taken, without reading the checkpoint's tensors; else it is made, and kept.
    """
    path = find(source)
    kept = packed.find(path, machine.weights)
    if kept is not None:
        checkpoint, parts = kept
        tensors = {name: _weight(part) for name, part in parts.items()}
        return checkpoint, Model.of(checkpoint.hparams, tensors, machine)
    checkpoint = load(source)
    model = Model.of(checkpoint.hparams, checkpoint.tensors, machine)
    tree = flatten(model.weights, checkpoint.hparams, lambda w: w)
    written = packed.keep(path, machine.weights, checkpoint, {n: _part(w) for n, w in tree.items()})
    if written is not None and on_kept is not None:
        on_kept(written)
    return checkpoint, model


def _part(w: Any) -> packed.Part:
    if not isinstance(w, Packed):
        return packed.Part(shape=w.shape, arrays={"numbers": w})
    stored = w.stored
    return packed.Part(
        shape=stored.shape,
        facts={"format": stored.format, "unit": stored.unit},
        arrays={"data": stored.data, "scales": stored.scales},
    )


def _weight(part: packed.Part) -> Any:
    if "numbers" in part.arrays:
        return part.arrays["numbers"]
    return Stored(
        shape=part.shape,
        format=int(part.facts["format"]),
        unit=float(part.facts["unit"]),
        data=part.arrays["data"],
        scales=part.arrays["scales"],
    )
