"""A run's checkpoints: there whole or not at all, and verified before they are used.

OUT/config.toml              the full configuration
OUT/log.jsonl                a line a step
OUT/checkpoints/00000100/    model/ (loads with pellucid.load), optimizer.safetensors,
                             progress.json with the hash of the latter, written last
OUT/best/                    the model with the lowest validation loss
OUT/model/                   the finished model
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..errors import CheckpointError
from ..files import new_folder

__all__ = ["Saved", "models", "newest", "prune", "save", "sweep"]

FOLDER = "checkpoints"
MODEL = "model"
OPTIMIZER = "optimizer.safetensors"
PROGRESS = "progress.json"
_NAME = re.compile(r"[0-9]{8}")
_KEPT = "kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """model: the weights (with LoRA, the base's). optimizer: its moments by name. kept: other
    tensors that the run needs to go on. progress: plain JSON values, among them `step`, the
    number of steps done."""

    path: Path
    model: Checkpoint
    optimizer: dict[str, np.ndarray]
    progress: dict[str, Any]
    kept: dict[str, np.ndarray]


def save(
    out: Path,
    model: Checkpoint,
    optimizer: Mapping[str, np.ndarray],
    progress: Mapping[str, Any],
    kept: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write OUT/checkpoints/STEP. Raises CheckpointError when it cannot be written; what was
    there before is unchanged."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    target = out / FOLDER / f"{progress['step']:08d}"
    with new_folder(target, _only_checkpoints, error=CheckpointError) as partial:
        checkpoint.save(
            partial / MODEL,
            model.hparams,
            model.tensors,
            model.tokenizer,
            card=model.card,
            template=model.template,
            roles=model.roles,
        )
        moments = {name: np.ascontiguousarray(x) for name, x in optimizer.items()}
        moments |= {_KEPT + name: np.ascontiguousarray(x) for name, x in (kept or {}).items()}
        try:
            save_file(moments, partial / OPTIMIZER)
        except SafetensorError as error:  # a full disk shows as one
            raise CheckpointError(
                f"cannot write {target}: {error}; the checkpoints before it are unchanged"
            ) from error
        with open(partial / OPTIMIZER, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        written = {**progress, "sha256": digest}
        (partial / PROGRESS).write_bytes(json.dumps(written, indent=2).encode())
    return target


def newest(out: Path) -> tuple[Saved | None, list[str]]:
    """The newest checkpoint that is sound, and what was wrong with those that are newer."""
    wrong: list[str] = []
    for path in _checkpoints(out):
        try:
            return _read(path), wrong
        except (CheckpointError, OSError, ValueError, KeyError) as error:
            wrong.append(f"{path}: {error}")
    return None, wrong


def models(out: Path) -> dict[int, Path]:
    """Step -> the model in its checkpoint."""
    return {int(path.name): path / MODEL for path in _checkpoints(out)}


def sweep(out: Path) -> None:
    """Remove what a run that was killed has left half-written. Only one process may write to a
    run's folder, so nothing of a living one is in it."""
    for folder in (out, out / FOLDER):
        for path in folder.glob(".*.partial"):
            shutil.rmtree(path, ignore_errors=True)


def prune(out: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for path in list(_checkpoints(out))[keep:]:
        shutil.rmtree(path, ignore_errors=True)


def _checkpoints(out: Path) -> Iterator[Path]:
    """Newest first."""
    folder = out / FOLDER
    if folder.is_dir():
        yield from sorted(
            (path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True
        )


def _read(path: Path) -> Saved:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    progress = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
    with open(path / OPTIMIZER, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != progress["sha256"]:
            raise CheckpointError(f"{path / OPTIMIZER} is not the file that was saved")
    try:
        tensors = load_file(path / OPTIMIZER)
    except SafetensorError as error:
        raise CheckpointError(f"{path / OPTIMIZER}: {error}") from error
    kept = {
        name.removeprefix(_KEPT): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(_KEPT)
    }
    return Saved(
        path=path,
        model=checkpoint.load(path / MODEL),
        optimizer=tensors,
        progress=progress,
        kept=kept,
    )


def _only_checkpoints(folder: Path) -> None:
    """A damaged one too, in which a file is missing: the run has come to its step again."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if not names <= {MODEL, OPTIMIZER, PROGRESS}:
        raise CheckpointError(f"{folder} is not a training checkpoint: choose another --out")
