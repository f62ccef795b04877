"""OpenAI's own GPT-2 files.

A folder holds `hparams.json`, `encoder.json`, `vocab.bpe`, `checkpoint` (which names the prefix,
`model.ckpt`), and a tensor bundle: `model.ckpt.index` and `model.ckpt.data-00000-of-00001`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, TokenizerError
from ..hparams import HParams
from ..weights import shapes
from .bundle import Bundle
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_finite,
    check_shapes,
    check_tokenizer,
    hparams_from,
    inside,
)

__all__ = ["openai_names", "openai_shapes", "read", "read_tensor"]

_MAX_JSON_BYTES = 1 << 16


def openai_names(hparams: HParams) -> dict[str, str]:
    """Our names → OpenAI's: `h.0.attn.c_attn.weight` → `model/h0/attn/c_attn/w`.

    Norms call their gain `g`, everything's bias is `b`, the two embeddings have no last part.
    """
    table = {}
    for name in shapes(hparams):
        *path, last = name.split(".")
        if path[0] in ("wte", "wpe"):
            table[name] = f"model/{path[0]}"
            continue
        if path[0] == "h":
            path[:2] = [f"h{path[1]}"]
        kind = "b" if last == "bias" else "g" if path[-1].startswith("ln_") else "w"
        table[name] = "/".join(["model", *path, kind])
    return table


def openai_shapes(hparams: HParams) -> dict[str, tuple[int, ...]]:
    """OpenAI's names → shapes as stored: the linear maps are convolutions, [1, in, out]."""
    return {
        other: (1, *shape) if other.endswith("/w") else shape
        for (name, other), shape in zip(
            openai_names(hparams).items(), shapes(hparams).values(), strict=True
        )
    }


def _prefix(folder: Path) -> str:
    """The bundle's name: what `checkpoint` says, or that of the only index in the folder."""
    path = inside(folder, "checkpoint")
    if path.is_file():
        text = READER.read_bytes(path, _MAX_JSON_BYTES).decode("utf-8", "replace")
        named = re.search(r'^model_checkpoint_path: "([^"\n]*)"\s*$', text, re.MULTILINE)
        if named is None:
            raise CheckpointError(f"{path}: does not name a model_checkpoint_path")
        prefix = named.group(1)
        if re.match(r"/|[A-Za-z]:[/\\\\]", prefix):  # TensorFlow writes where it was saved once
            last = re.split(r"[/\\\\]", prefix)[-1]
            if last and (folder / f"{last}.index").is_file():
                prefix = last
        if not re.fullmatch(r"[\w][\w.\-]*", prefix, re.ASCII):
            raise CheckpointError(
                f"{path}: model_checkpoint_path is {prefix!r}; it must be a plain file name "
                'in the same folder, such as "model.ckpt": write that there, or remove the file'
            )
        return prefix
    indexes = sorted(path.name for path in folder.glob("*.index"))
    if len(indexes) != 1:
        raise CheckpointError(
            f"{folder}: needs the file `checkpoint` or exactly one .index file, has {len(indexes)}"
        )
    return indexes[0].removesuffix(".index")


def _open(folder: Path) -> Bundle:
    return Bundle(folder, _prefix(folder))


def read_tensor(folder: str | os.PathLike[str], name: str, *, verify: bool = True) -> np.ndarray:
    """One tensor by OpenAI's name, float32 in its stored shape, memory-mapped and read-only.

    Works on a truncated data file too, as long as this tensor lies whole in it. `verify` checks
    its checksum. Raises CheckpointError.
    """
    bundle = _open(Path(folder))
    if name not in bundle.entries:
        raise CheckpointError(f"{folder}: the index has no tensor {name!r}")
    return bundle.tensor(name, verify)


def read(folder: str | os.PathLike[str], *, verify: bool = True) -> Checkpoint:
    """A folder as OpenAI published GPT-2.

    The tensors are views of the memory-mapped data file, float32, by our names and shapes.
    `verify` checks every tensor against its checksum in the index (the blocks of the index itself
    always are). Raises CheckpointError: a file is missing, damaged or cut short; tensors and
    hyperparameters disagree; a number is NaN or infinite; the vocabulary has other than
    n_vocab tokens.
    """
    folder = Path(folder)
    path = inside(folder, "hparams.json")
    hparams = hparams_from(READER.read_object(path, _MAX_JSON_BYTES), path)
    bundle = _open(folder)
    ours = {other: name for name, other in openai_names(hparams).items()}
    index = folder / f"{bundle.prefix}.index"
    if unknown := [name for name in bundle.entries if name not in ours]:
        others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise CheckpointError(
            f"{index}: holds tensors that no GPT-2 of {hparams.n_layer} layers has: "
            f"{unknown[0]!r}{others}"
        )
    stored = openai_shapes(hparams)
    arrived = {}
    for other, entry in bundle.entries.items():
        # Only the leading 1 of a convolution may differ from our shape.
        drop = len(entry.shape) == len(stored[other]) == 3 and entry.shape[0] == 1
        arrived[ours[other]] = entry.shape[1:] if drop else entry.shape
    check_shapes(arrived, hparams, index)
    bundle.check_whole()
    names = openai_names(hparams)
    tensors = {
        name: bundle.tensor(names[name], verify).reshape(shape)
        for name, shape in shapes(hparams).items()
    }
    check_finite(tensors, folder)
    from ..tokenizer import Tokenizer

    try:
        tokenizer = Tokenizer.from_files(
            inside(folder, "encoder.json"), inside(folder, "vocab.bpe")
        )
    except (TokenizerError, OSError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    check_tokenizer(tokenizer, hparams, folder)
    end = tokenizer.end_of_text
    roles = Roles() if end is None else Roles(bos=end, eos=(end,))
    return Checkpoint(
        hparams=hparams, tensors=tensors, tokenizer=tokenizer, path=folder, roles=roles
    )
