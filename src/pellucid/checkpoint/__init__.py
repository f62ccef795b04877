"""Model files in and out: Hugging Face, OpenAI's TensorFlow bundle, GGUF and our own folder.

`load` finds out what a folder, a file or a hub name is and reads it; `save` writes. No pickle is
ever read: opening one runs whatever program its author put there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..embedded import DEFAULT
from ..errors import CheckpointError
from .contents import READER, Checkpoint, Roles
from .formats import FORMATS, detect, has_tokenizer, only_gguf
from .saving import save
from .source import find

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = [
    "FORMATS",
    "Checkpoint",
    "Roles",
    "detect",
    "family_name",
    "load",
    "load_tokenizer",
    "save",
]


def load(source: str | os.PathLike[str]) -> Checkpoint:
    """Read a model: a folder or file of any known format, an embedded model, or a hub name.

    What a name means is said in `pellucid.checkpoint.source`. The tensors are memory-mapped and
    read-only where the file's numbers can be computed with as they are. Raises CheckpointError.
    """
    path = find(source)
    format = detect(path)
    home = path if path.is_dir() else path.parent
    # Each reader is imported when it is needed, so that a small model starts in a blink.
    if format == "pellucid":
        from . import folder

        return folder.read(home)
    if format == "hf":
        from . import huggingface

        return huggingface.read(path)
    if format == "openai":
        from . import openai

        return openai.read(home)
    from . import gguf

    return gguf.read(only_gguf(path) if path.is_dir() else path)


def family_name(source: str | os.PathLike[str] | None) -> str | None:
    """Which family the model in a folder of Pellucid's own is of, from its config.json alone. None
    for every other file, and for what cannot be read: `load` says what is wrong."""
    try:
        path = find(source or DEFAULT)
        home = path if path.is_dir() else path.parent
        if not (home / "manifest.json").is_file():
            return None
        hparams = READER.read_object(home / "config.json").get("hparams")
    except (CheckpointError, OSError):
        return None
    return str(hparams.get("family", "gpt2")) if isinstance(hparams, dict) else None


def load_tokenizer(source: str | os.PathLike[str]) -> Tokenizer:
    """Only the tokenizer of a model; what a name means is as for `load`. A folder with a tokenizer
    and no weights will do.

    Raises CheckpointError or TokenizerError.
    """
    from ..tokenizer import Tokenizer

    path = find(source)
    if path.is_dir() and has_tokenizer(path):
        return Tokenizer.from_folder(path)
    if detect(path) == "gguf":  # it lies inside the file
        tokenizer = load(path).tokenizer
        if tokenizer is None:
            raise CheckpointError(f"{path} has no tokenizer in it")
        return tokenizer
    return Tokenizer.from_folder(path if path.is_dir() else path.parent)
