"""The moments of an embedded model's training, packed.

snapshots/weights.safetensors   each weight by its name, [moment, ...], float32
snapshots/snapshots.json        the steps of the moments, the loss of every step, the fingerprints
                                of the weights that they end at and of the tokenizer, and the
                                sha256 of all this and the other file

Nothing is rounded: a moment holds the very numbers that the training had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import CheckpointError
from ..files import Reader, new_folder
from ..weights import fingerprint, shapes

__all__ = ["FOLDER", "Packed", "pack", "unpack"]

FOLDER = "snapshots"
_WEIGHTS, _ABOUT = "weights.safetensors", "snapshots.json"
_READER = Reader(error=CheckpointError)
_MOST_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True)
class Packed:
    """steps [moment]. losses [step]: of the weights after 0, 1, 2, … steps. tensors: name ->
    [moment, ...]. same: whether they end at the very model beside them."""

    steps: tuple[int, ...]
    losses: np.ndarray
    tensors: Mapping[str, np.ndarray]
    same: bool

    def at(self, step: int, model: Checkpoint) -> Checkpoint:
        """The moment after so many steps. model: the one beside them."""
        moment = self.steps.index(step)
        return replace(model, tensors={name: x[moment] for name, x in self.tensors.items()})


def pack(folder: Path, moments: Mapping[int, Checkpoint], losses: Sequence[float]) -> None:
    """Write a training's moments into `folder`, which is there whole or not at all.

    moments: step -> the model then, the last the finished one. losses [step]: of the weights after
    0, 1, 2, … steps, to the last.
    """
    from safetensors.numpy import save_file

    tables = [moments[step].tensors for step in sorted(moments)]
    last = moments[max(moments)]
    stacked = {
        name: np.ascontiguousarray(np.stack([tensors[name] for tensors in tables]), "<f4")
        for name in last.tensors
    }
    with new_folder(folder, _only_ours, error=CheckpointError) as partial:
        save_file(stacked, partial / _WEIGHTS)
        about = {
            "format": "pellucid snapshots",
            "version": 1,
            "steps": sorted(moments),
            "losses": list(losses),
            "model": fingerprint(last.tensors),
            "tokenizer": _tokenizer(last),
        }
        about["sha256"] = _digest(about, (partial / _WEIGHTS).read_bytes())
        (partial / _ABOUT).write_bytes((json.dumps(about) + "\n").encode())


def unpack(folder: Path, model: Checkpoint) -> Packed:
    """Read and verify. Raises CheckpointError where a file was changed, or belongs to another
    model."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about = _READER.read_object(folder / _ABOUT)
    steps, losses = _numbers(about, "steps"), _numbers(about, "losses")
    data = _READER.read_bytes(folder / _WEIGHTS, _MOST_BYTES)
    if _digest(about, data) != about.get("sha256"):
        raise CheckpointError(
            f"{folder} does not hold the files that were saved: damaged or exchanged; take a fresh "
            "copy"
        )
    if _tokenizer(model) != about.get("tokenizer"):
        raise CheckpointError(
            f"{folder} holds the training of another model than the one beside it"
        )
    if list(steps) != sorted({int(step) for step in steps}) or len(losses) != steps[-1] + 1:
        raise CheckpointError(f"{folder / _ABOUT}: steps must rise, and each has a loss")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / _WEIGHTS}: {error}") from error
    expected = {name: (len(steps), *shape) for name, shape in shapes(model.hparams).items()}
    if {name: x.shape for name, x in tensors.items()} != expected:
        raise CheckpointError(f"{folder / _WEIGHTS}: its shapes are not those of the model")
    return Packed(
        steps=tuple(int(step) for step in steps),
        losses=np.asarray(losses, np.float64),
        tensors=tensors,
        same=fingerprint(model.tensors) == about.get("model"),
    )


def _digest(about: Mapping[str, Any], weights: bytes) -> str:
    """Of both files: all that the one says of itself, and the other's bytes."""
    known = {name: value for name, value in about.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode() + weights).hexdigest()


def _tokenizer(model: Checkpoint) -> str | None:
    return None if model.tokenizer is None else model.tokenizer.fingerprint()


def _numbers(about: Mapping[str, Any], name: str) -> list[Any]:
    values = about.get(name)
    if not (isinstance(values, list) and len(values) > 1):
        raise CheckpointError(f"{_ABOUT}: {name} must be a list of two or more")
    if not all(type(x) in (int, float) for x in values):
        raise CheckpointError(f"{_ABOUT}: {name} must be numbers")
    return values


def _only_ours(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if not names <= {_WEIGHTS, _ABOUT}:
        raise CheckpointError(f"{folder} holds other files too: choose another folder")
