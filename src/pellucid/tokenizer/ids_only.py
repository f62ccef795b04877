"""In a tokenizer's place, for weights that came without one: ids go in, and ids come out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from os import PathLike
from typing import Literal

from ..errors import TokenizerError
from .bpe import MergedWord
from .rules import Rules
from .tokenizer import Tokenizer

__all__ = ["IdsOnly"]


class IdsOnly(Tokenizer):
    """Writes each id as " #7", the notation of the command line; text it cannot read.

    name: the model that lacks a tokenizer, for the error that says what to add. why: what its
    tokenizer is, where it has one that is not computed here.
    """

    def __init__(self, n_vocab: int, name: str, *, why: str | None = None) -> None:
        self.n_vocab = n_vocab
        self.special_tokens = {}
        self.unused = frozenset()
        self.rules = Rules()
        self._bytes: list[bytes | None] = [b" #%d" % token for token in range(n_vocab)]
        self._name, self._why = name, why

    def encode(
        self,
        text: str,
        allowed_special: Collection[str] = (),
        *,
        on_special: Literal["text", "raise"] = "text",
    ) -> list[int]:
        """Raises TokenizerError: there is no tokenizer."""
        raise self._missing()

    def encode_many(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Raises TokenizerError: there is no tokenizer."""
        raise self._missing()

    def fingerprint(self) -> str:
        """Of how many ids there are: it is all that is known of what they mean."""
        return hashlib.sha256(f"{self.n_vocab} ids".encode()).hexdigest()

    def merges(self, text: str) -> list[MergedWord]:
        """Raises TokenizerError: there is no tokenizer."""
        raise self._missing()

    def save(self, folder: str | PathLike[str]) -> None:
        """Raises TokenizerError: there is nothing to save."""
        raise self._missing()

    def _missing(self) -> TokenizerError:
        if self._why:
            return TokenizerError(
                f"{self._name} reads no text: {self._why}. Encode with the library `tokenizers` "
                "and give ids: [5, 7] in Python in place of a text, `pellucid generate --ids 5,7`"
            )
        return TokenizerError(
            f"{self._name} has weights and no tokenizer, so it reads no text: put the vocab.json "
            "and merges.txt (or the tokenizer.json) that it was trained with beside its weights, "
            "or give ids: [5, 7] in Python in place of a text, `pellucid generate --ids 5,7`"
        )
