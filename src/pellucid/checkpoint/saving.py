"""Writing a checkpoint: a folder that is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, InputError
from ..families import family_of
from ..files import new_file, new_folder
from .contents import Checkpoint, Roles, check_finite, check_shapes, check_tokenizer
from .formats import FORMATS
from .safetensors_file import STORED

if TYPE_CHECKING:
    import numpy as np

    from ..hparams import HParams
    from ..tokenizer import Tokenizer

__all__ = ["save"]

# All that `save` writes in either format.
_OURS = frozenset(
    {
        "config.json",
        "generation_config.json",
        "manifest.json",
        "merges.txt",
        "model.safetensors",
        "special_tokens.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    }
)


def save(
    folder: str | os.PathLike[str],
    hparams: HParams,
    tensors: Mapping[str, np.ndarray],
    tokenizer: Tokenizer | None = None,
    *,
    format: str = "pellucid",
    dtype: str = "float32",
    card: Mapping[str, Any] | None = None,
    template: str | None = None,
    roles: Roles | None = None,
    embeddings: str | None = None,
) -> Path:
    """Write a folder, for GGUF a file, that is there whole or not at all; an earlier checkpoint
    there is replaced.

    tensors: names and shapes of `weights.shapes`. format: "pellucid" (with hashes), "hf" (what
    `transformers` loads) or "gguf" (what llama.cpp loads; needs the package gguf). dtype: float32,
    float16 or bfloat16 on disk, for GGUF also q8_0 and q4_0. card: plain JSON values.
    roles: which tokens begin, end and pad a text. embeddings: with q4_0, how the token embeddings
    and the output layer are stored, q8_0 (default) or q4_0.
    Returns the folder. Raises InputError for an unknown format or dtype and CheckpointError when
    a tensor is missing, extra, misshaped, not finite or too large for the dtype, when the folder
    holds files that are not a checkpoint's, when llama.cpp could not hold the model, or when it
    cannot be written.
    """
    from . import folder as own
    from . import gguf_writing, huggingface

    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if format not in (family := family_of(hparams)).formats:
        raise InputError(
            f"{family.title} is written in the format{'s' * (len(family.formats) > 1)} "
            f"{' and '.join(family.formats)} alone, not {format}: what reads that has no such model"
        )
    dtypes = gguf_writing.STORED if format == "gguf" else STORED
    if dtype not in dtypes:
        raise InputError(f"dtype of {format} must be one of {', '.join(dtypes)}, not {dtype!r}")
    if embeddings is not None and (dtype != "q4_0" or embeddings not in gguf_writing.EMBEDDINGS):
        raise InputError(
            f"embeddings of q4_0 are {' or '.join(gguf_writing.EMBEDDINGS)}, not {embeddings!r}; "
            f"those of {dtype} have no dtype of their own"
        )
    target = Path(folder)
    check_shapes({name: tuple(t.shape) for name, t in tensors.items()}, hparams, target)
    check_finite(tensors, target)
    if tokenizer is not None:
        check_tokenizer(tokenizer, hparams, target)
    checkpoint = Checkpoint(
        hparams=hparams,
        tensors=tensors,
        tokenizer=tokenizer,
        card=dict(card or {}),
        template=template,
        path=target,
        roles=roles or Roles(),
    )
    if format == "gguf":
        with new_file(target, error=CheckpointError) as partial:
            gguf_writing.write(partial, checkpoint, dtype, embeddings)
        return target
    fill = own.fill if format == "pellucid" else huggingface.fill
    with new_folder(target, _check_replaceable, error=CheckpointError) as partial:
        n_tensors = fill(partial, checkpoint, dtype)
        _check_written(partial / own.WEIGHTS, n_tensors)
    return target


def _check_replaceable(folder: Path) -> None:
    """Only a folder that holds nothing but a checkpoint's files may be written over."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; give the name of a folder")
    for path in folder.iterdir():
        if path.name not in _OURS or path.is_dir():
            raise CheckpointError(
                f"{folder} holds {path.name}, which no checkpoint of ours has; "
                "writing there would remove it: choose another folder"
            )


def _check_written(path: Path, n_tensors: int) -> None:
    """An independent reader must accept what was written before it replaces anything."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            n_written = len(file.keys())
    except SafetensorError as error:
        raise CheckpointError(f"{path} was not written whole: {error}") from error
    if n_written != n_tensors:
        raise CheckpointError(f"{path} was not written whole: {n_written} of {n_tensors} tensors")
