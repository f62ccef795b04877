"""A tokenizer whose files are read when a text first comes: ids need none of it."""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from typing import Any

from ..errors import TokenizerError
from .tokenizer import Tokenizer

__all__ = ["Later"]

_READING = RLock()


class Later(Tokenizer):
    """Of a folder whose files were read before and have not changed since. n_vocab: the tokens that
    it had then. Once read it is a plain `Tokenizer`; where the files are wrong by then,
    what asks first raises TokenizerError."""

    def __init__(self, folder: Path, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        with _READING:
            folder = self.__dict__.get("_folder")
            if folder is not None:
                whole = Tokenizer.from_folder(folder)
                if whole.n_vocab != self.n_vocab:
                    raise TokenizerError(
                        f"{folder}: the tokenizer had {self.n_vocab} tokens when the model was "
                        f"loaded and has {whole.n_vocab} now: load it anew"
                    )
                del self.__dict__["_folder"]
                self.__dict__.update(whole.__dict__)
                self.__class__ = Tokenizer  # type: ignore[assignment]
        return object.__getattribute__(self, name)
