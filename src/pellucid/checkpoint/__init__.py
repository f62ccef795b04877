"""Model files in and out: Hugging Face, OpenAI's TensorFlow bundle, GGUF and our own folder.

`load` finds out what a folder, a file or a hub name is and reads it; `save` writes. No pickle is
ever read: opening one runs whatever program its author put there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, InputError
from .checkpoint import Checkpoint

if TYPE_CHECKING:
    import numpy as np

    from ..hparams import HParams
    from ..tokenizer import Tokenizer

__all__ = ["EMBEDDED", "FORMATS", "Checkpoint", "detect", "load", "load_tokenizer", "save"]

FORMATS = ("pellucid", "hf")  # what `save` writes; `load` reads "openai" and "gguf" too

EMBEDDED = Path(__file__).parents[1] / "models"  # the models that come with the package

_CONVERT = (
    "Pellucid never opens one, because that runs whatever program its author put there. If you "
    'trust it, convert it where transformers is installed: python -c "from transformers import '
    "AutoModelForCausalLM as M; M.from_pretrained('FOLDER').save_pretrained('out')\", and copy "
    "the tokenizer's files into the folder out"
)
# How files begin that are, or may hold, pickles.
_REFUSED = {
    b"PK\x03\x04": "a zip archive (a PyTorch or NumPy file), which may hold a pickle",
    b"PK\x05\x06": "an empty zip archive",
    b"\x93NUMPY": "a NumPy file, which may hold a pickle",
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"ustar": "a tar archive: unpack it first",
    **{bytes([0x80, protocol]): "a pickle" for protocol in range(1, 6)},
}
_PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz", ".npy", ".zip")


def load(source: str | os.PathLike[str]) -> Checkpoint:
    """Read a model: a folder or file of any known format, an embedded model, or a hub name.

    A name that exists as a path is that path. The tensors are memory-mapped and read-only where
    the file's numbers can be computed with as they are. Raises CheckpointError.
    """
    path = _find(source)
    kind = detect(path)
    if kind == "pellucid":
        from . import folder

        return folder.read(path if path.is_dir() else path.parent)
    if kind == "hf":
        from . import huggingface

        return huggingface.read(path)
    if kind == "openai":
        from . import openai

        return openai.read(path if path.is_dir() else path.parent)
    from . import gguf

    return gguf.read(_only_gguf(path) if path.is_dir() else path)


def load_tokenizer(source: str | os.PathLike[str]) -> Tokenizer:
    """Only the tokenizer of a model, without its weights. Raises CheckpointError or
    TokenizerError."""
    from ..tokenizer import Tokenizer

    path = _find(source)
    if detect(path) == "gguf":  # it lies inside the file
        tokenizer = load(path).tokenizer
        if tokenizer is None:
            raise CheckpointError(f"{path} has no tokenizer in it")
        return tokenizer
    return Tokenizer.from_folder(path if path.is_dir() else path.parent)


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
) -> Path:
    """Write a folder that is there whole or not at all; an earlier checkpoint there is replaced.

    tensors: names and shapes of `weights.shapes`. format: "pellucid" (with hashes) or "hf" (what
    `transformers` loads). dtype: float32, float16 or bfloat16 on disk. card: plain JSON values.
    Returns the folder. Raises InputError for an unknown format or dtype and CheckpointError when
    a tensor is missing, extra, misshaped, not finite or too large for the dtype, when the folder
    holds files that are not a checkpoint's, or when it cannot be written.
    """
    from . import folder as own
    from . import huggingface
    from .atomic import new_folder
    from .checkpoint import check_finite, check_shapes, check_tokenizer
    from .safetensors_file import STORED

    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if dtype not in STORED:
        raise InputError(f"dtype must be one of {', '.join(STORED)}, not {dtype!r}")
    target = Path(folder)
    check_shapes({name: tuple(t.shape) for name, t in tensors.items()}, hparams, target)
    check_finite(tensors, target)
    if tokenizer is not None:
        check_tokenizer(tokenizer, hparams, target)
    checkpoint = Checkpoint(hparams, tensors, tokenizer, dict(card or {}), template, target)
    fill = own.fill if format == "pellucid" else huggingface.fill
    with new_folder(target, _check_replaceable) as partial:
        fill(partial, checkpoint, dtype)
        _check_written(partial / huggingface.WEIGHTS, len(tensors))
    return target


def detect(path: str | os.PathLike[str]) -> str:
    """Which format a file or folder has: "pellucid", "hf", "openai" or "gguf".

    Looks at names and first bytes only. Raises CheckpointError for anything else, and says
    what to do with a pickle.
    """
    path = Path(path)
    if path.is_dir():
        return _detect_folder(path)
    if path.name.endswith(".index.json"):
        return "hf"
    if path.name == "checkpoint" or path.name.startswith("model.ckpt."):
        return "openai"
    from .checkpoint import open_file

    with open_file(path) as file:
        begin = file.read(264)
    if begin.startswith(b"GGUF") or path.suffix == ".gguf":
        return "gguf"
    # A header of 640 bytes makes a sound file begin as a pickle does, 0x80 0x02: look at the brace.
    sound = path.suffix == ".safetensors" and begin[8:9] == b"{"
    for mark, what in () if sound else _REFUSED.items():
        if begin.startswith(mark) or (mark == b"ustar" and begin[257:262] == mark):
            raise CheckpointError(f"{path} is {what}. {_CONVERT}")
    if path.suffix == ".safetensors":
        return "pellucid" if (path.parent / "manifest.json").exists() else "hf"
    if path.suffix in _PICKLE_ENDINGS:
        raise CheckpointError(f"{path} has the ending of a pickle. {_CONVERT}")
    raise CheckpointError(
        f"{path} is no model file that Pellucid knows: give a folder, a .safetensors with its "
        "config.json beside it, a .gguf, or a folder with OpenAI's model.ckpt.* files"
    )


def _detect_folder(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    if "manifest.json" in names:
        return "pellucid"
    if names & {"model.safetensors", "model.safetensors.index.json"}:
        if "config.json" not in names:
            raise CheckpointError(f"{path} has weights but no config.json beside them")
        return "hf"
    if "hparams.json" in names or any(name.startswith("model.ckpt.") for name in names):
        return "openai"
    if any(name.endswith(".gguf") for name in names):
        return "gguf"
    if pickles := sorted(name for name in names if name.endswith(_PICKLE_ENDINGS)):
        raise CheckpointError(f"{path} has its weights in {pickles[0]}, a pickle. {_CONVERT}")
    raise CheckpointError(
        f"{path} holds no model that Pellucid knows: it needs model.safetensors and config.json, "
        "OpenAI's model.ckpt.* and hparams.json, or a .gguf file"
    )


def _find(source: str | os.PathLike[str]) -> Path:
    """The path that a person means."""
    from . import hub

    text = os.fspath(source)
    if not text or "\0" in text:
        raise CheckpointError(f"{text!r} names no model: give a folder, a file or a hub name")
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    try:
        if path.exists():
            return path
    except OSError as error:  # a name too long
        raise CheckpointError(f"cannot read {text[:60]!r}...: {error.strerror}") from error
    if isinstance(source, str):
        if (EMBEDDED / text / "config.json").is_file() and "/" not in text and "\\" not in text:
            return EMBEDDED / text
        if hub.is_hub_name(text):
            return hub.folder_of(text)
    raise CheckpointError(
        f"there is no folder or file {text[:200]!r}, and it is no name of a model: "
        "give a path, a hub name such as openai-community/gpt2, or gpt2, distilgpt2"
    )


def _only_gguf(folder: Path) -> Path:
    from .checkpoint import inside

    files = sorted(path.name for path in folder.iterdir() if path.name.endswith(".gguf"))
    if len(files) > 1:
        raise CheckpointError(f"{folder} holds {len(files)} GGUF files: give one, {files[0]}?")
    return inside(folder, files[0])


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


# All that `save` writes in either format.
_OURS = frozenset(
    {
        "config.json",
        "manifest.json",
        "merges.txt",
        "model.safetensors",
        "special_tokens.json",
        "tokenizer_config.json",
        "vocab.json",
    }
)


def _check_written(path: Path, n_tensors: int) -> None:
    """An independent reader must accept what was written before it replaces anything."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            n_found = len(file.keys())
    except SafetensorError as error:
        raise CheckpointError(f"{path} was not written whole: {error}") from error
    if n_found != n_tensors:
        raise CheckpointError(f"{path} was not written whole: {n_found} of {n_tensors} tensors")
