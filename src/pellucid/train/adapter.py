"""What a LoRA run learned, on disk and merged into its base. Needs no PyTorch.

adapter.json             rank, alpha, targets, the base's hash, the hash of the numbers
adapter.safetensors      `h.0.attn.c_attn.A` [in, rank] and `h.0.attn.c_attn.B` [rank, out], ...

or, for Hugging Face's peft, adapter_config.json and adapter_model.safetensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..checkpoint.safetensors_file import SafetensorsFile, write
from ..errors import CheckpointError, InputError, PellucidError
from ..files import Reader, new_folder
from ..tokenizer import Tokenizer
from ..weights import fingerprint

__all__ = [
    "TARGETS",
    "Adapter",
    "check",
    "check_base",
    "check_tokenizer",
    "kept_base",
    "load",
    "merge",
    "save",
    "save_peft",
]

TARGETS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
CONFIG = "adapter.json"
NUMBERS = "adapter.safetensors"
PEFT_CONFIG = "adapter_config.json"
PEFT_NUMBERS = "adapter_model.safetensors"
_FORMAT = "pellucid-adapter"
_KEYS = {"format", "rank", "alpha", "targets", "base", "sha256"}
_MORE = {"tokenizer"}  # those of 2026-11-25 and before have none


@dataclass(frozen=True, slots=True)
class Adapter:
    """W becomes W + alpha / rank · A·B for the weight W of every target in every block
    (LoRA, arXiv 2106.09685, §4.1).

    base: `weights.fingerprint` of the weights that it was trained on. tensors: "h.0.attn.c_attn.A"
    [in, rank] and "….B" [rank, out]. tokenizer: `Tokenizer.fingerprint` of the texts' ids, where
    it is known. Raises InputError for a setting out of range.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    base: str
    tensors: Mapping[str, np.ndarray]
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        check(self.rank, self.alpha, self.targets)

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def check(rank: int, alpha: float, targets: tuple[str, ...]) -> None:
    """Raises InputError naming the setting that is wrong."""
    if rank < 1:
        raise InputError(f"the adapter's rank must be at least 1, not {rank}")
    if not (math.isfinite(alpha) and alpha > 0):
        raise InputError(f"the adapter's alpha must be a number above 0, not {alpha}")
    if not targets or len(set(targets)) < len(targets) or not set(targets) <= set(TARGETS):
        raise InputError(
            f"the adapter's targets must be some of {', '.join(TARGETS)}, each once; not "
            f"{', '.join(targets) or 'none'}"
        )


def merge(tensors: Mapping[str, np.ndarray], adapter: Adapter) -> dict[str, np.ndarray]:
    """The base's weights -> those with the adapter in them, an ordinary model.

    Raises CheckpointError when these are not the weights that the adapter was trained on.
    """
    check_base(tensors, adapter)
    merged = dict(tensors)
    for path in sorted({name.rsplit(".", 1)[0] for name in adapter.tensors}):
        weight = tensors.get(f"{path}.weight")
        a, b = adapter.tensors[f"{path}.A"], adapter.tensors[f"{path}.B"]
        if weight is None or (a.shape[0], b.shape[1]) != weight.shape:
            raise CheckpointError(f"the adapter's {path} does not fit the model's shape")
        merged[f"{path}.weight"] = weight + np.float32(adapter.scale) * (a @ b)
    return merged


def check_base(tensors: Mapping[str, np.ndarray], adapter: Adapter) -> None:
    """Raises CheckpointError when these are not the weights that the adapter was trained on."""
    if (digest := fingerprint(tensors)) != adapter.base:
        raise CheckpointError(
            f"the adapter was trained on other weights (sha256 {adapter.base[:12]}…) than these "
            f"({digest[:12]}…): give the checkpoint that its run started from"
        )


def kept_base(folder: Path, adapter: Adapter) -> Path | None:
    """folder: an adapter's, in the folder of its run. -> the base as the run's own checkpoints keep
    it, whatever has become of what it was started from; None where there is none."""
    for path in sorted((folder.absolute().parent / "checkpoints").glob("*/model"), reverse=True):
        try:
            if fingerprint(checkpoint.load(path).tensors) == adapter.base:
                return path
        except PellucidError:  # damaged: an earlier one may do
            continue
    return None


def check_tokenizer(tokenizer: Tokenizer | None, adapter: Adapter) -> None:
    """Raises CheckpointError when texts would have other ids than those it was trained on."""
    if tokenizer is not None and adapter.tokenizer not in (None, tokenizer.fingerprint()):
        before = (
            f" (one of before 2026-11-26 says so here; where you know that it is the same, write "
            f'"tokenizer": "{tokenizer.fingerprint()}" into its {CONFIG})'
        )
        raise CheckpointError(
            "the adapter was trained with another tokenizer than this checkpoint's, though its "
            "weights are the same: give the checkpoint that its run started from"
            + ("" if tokenizer.rules.plain else before)
        )


def save(folder: Path, adapter: Adapter) -> Path:
    """Write a folder that is there whole or not at all; an earlier adapter there is replaced.

    Raises CheckpointError when it cannot be written, or holds something else.
    """
    with new_folder(folder, _only(CONFIG), error=CheckpointError) as partial:
        write(partial / NUMBERS, adapter.tensors)
        config = {
            "format": _FORMAT,
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "targets": list(adapter.targets),
            "base": adapter.base,
            "sha256": _sha256(partial / NUMBERS),
        }
        if adapter.tokenizer is not None:
            config["tokenizer"] = adapter.tokenizer
        (partial / CONFIG).write_bytes((json.dumps(config, indent=2) + "\n").encode())
    return folder


def load(folder: str | os.PathLike[str]) -> Adapter:
    """Raises CheckpointError naming what is missing, changed or wrong."""
    path = Path(folder)
    if not (path / CONFIG).is_file():
        raise CheckpointError(f"{path} is no adapter: it has no {CONFIG}")
    config = Reader(error=CheckpointError).read_object(path / CONFIG)
    if set(config) - _MORE != _KEYS or config["format"] != _FORMAT:
        raise CheckpointError(f"{path / CONFIG} must hold {', '.join(sorted(_KEYS))}: no more")
    kinds = {"rank": int, "alpha": (int, float), "targets": list, "base": str, "sha256": str}
    if "tokenizer" in config:
        kinds["tokenizer"] = str
    for key, kind in kinds.items():
        if not isinstance(config[key], kind) or isinstance(config[key], bool):  # type: ignore[arg-type]
            raise CheckpointError(f"{path / CONFIG}: {key} is of the wrong kind")
    file = SafetensorsFile(path / NUMBERS)
    if _sha256(path / NUMBERS) != config["sha256"]:
        raise CheckpointError(f"{path / NUMBERS} is not the file that was saved")
    targets = tuple(str(target) for target in config["targets"])
    try:
        check(config["rank"], config["alpha"], targets)
    except InputError as error:
        raise CheckpointError(f"{path / CONFIG}: {error}") from error
    tensors = {name: file.tensor(name) for name in file.places}
    for name, tensor in tensors.items():
        pair = {f"{name[:-1]}A", f"{name[:-1]}B"}
        inner = 1 if name.endswith(".A") else 0
        if (
            name not in pair
            or not pair <= set(tensors)
            or tensor.ndim != 2
            or tensor.shape[inner] != config["rank"]
        ):
            raise CheckpointError(f"{path / NUMBERS}: {name[:60]} is no matrix of an adapter")
    return Adapter(
        rank=config["rank"],
        alpha=float(config["alpha"]),
        targets=targets,
        base=config["base"],
        tensors=tensors,
        tokenizer=config.get("tokenizer"),
    )


def save_peft(folder: Path, adapter: Adapter, base: str = "") -> Path:
    """Write the adapter as Hugging Face's peft loads it onto the same GPT-2 in transformers.

    base: the name or folder of that GPT-2. peft stores A and B as [out, in]; GPT-2's layers
    are [in, out] ("Conv1D"), which it calls fan_in_fan_out.
    """
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(adapter.targets),
        "fan_in_fan_out": True,
        "bias": "none",
        "inference_mode": True,
    }
    tensors = {
        f"base_model.model.transformer.{name[:-1]}lora_{name[-1]}.weight": np.ascontiguousarray(x.T)
        for name, x in adapter.tensors.items()
    }
    with new_folder(folder, _only(PEFT_CONFIG), error=CheckpointError) as partial:
        write(partial / PEFT_NUMBERS, tensors, metadata={"format": "pt"})
        (partial / PEFT_CONFIG).write_bytes((json.dumps(config, indent=2) + "\n").encode())
    return folder


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _only(config: str) -> Any:
    """What lets an adapter be replaced, and nothing else."""

    def may_replace(folder: Path) -> None:
        if not (folder / config).is_file():
            raise CheckpointError(f"{folder} is there and is no adapter: choose another name")

    return may_replace
