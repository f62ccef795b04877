"""Tokens to text as they come: a character that is split between two tokens waits for its rest."""

from __future__ import annotations

import codecs
from collections.abc import Callable

__all__ = ["StreamDecoder"]


class StreamDecoder:
    """Token by token to text. What it gives out, joined, is what `decode` gives for all of them;
    at most 3 bytes wait for the rest of their character.

    bytes_of: the bytes of a token, as `Tokenizer.bytes_of` gives them.
    """

    def __init__(self, bytes_of: Callable[[int], bytes]) -> None:
        self._bytes_of = bytes_of
        self._waits = False  # the beginning of a character, in the decoder
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def held(self) -> bytes:
        """The bytes, 3 at most, that wait for the rest of their character."""
        return self._decoder.getstate()[0]

    def push(self, token: int) -> str:
        """The characters that this token completes; often the token's text, sometimes ''."""
        value = self._bytes_of(token)
        if not self._waits:  # as most often: a token that is text by itself
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        text = self._decoder.decode(value)
        self._waits = bool(self.held)
        return text

    def flush(self) -> str:
        """What is left when no token follows: U+FFFD for an unfinished character, or ''."""
        self._waits = False
        return self._decoder.decode(b"", final=True)
