"""A tokenizer whose files are read when a text first comes: ids need none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

from ..errors import TokenizerError
from .tokenizer import Tokenizer

__all__ = ["Later"]

_READING = RLock()


class Later(Tokenizer):
    """Of a folder or a file that was read before and has not changed since. n_vocab: the tokens
    that it had then. read: how it is read. Once read it is a plain `Tokenizer`; where the files are
    wrong by then, what asks first raises TokenizerError."""

    def __init__(self, path: Path, n_vocab: int, read: Callable[[Path], Tokenizer]) -> None:
        self.n_vocab = n_vocab
        self._source = path, read

    def __getattr__(self, name: str) -> Any:
        with _READING:
            source = self.__dict__.get("_source")
            if source is not None:
                path, read = source
                whole = read(path)
                if whole.n_vocab != self.n_vocab:
                    raise TokenizerError(
                        f"{path}: the tokenizer had {self.n_vocab} tokens when the model was "
                        f"loaded and has {whole.n_vocab} now: load it anew"
                    )
                del self.__dict__["_source"]
                self.__dict__.update(whole.__dict__)
                self.__class__ = Tokenizer  # type: ignore[assignment]
        return object.__getattribute__(self, name)
