"""GPT-2's spelling of a small vocabulary, written without a look at the package."""

from __future__ import annotations


def byte_spelling() -> list[str]:
    """GPT-2's character for each byte, in the order of its vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]


MERGES = [("t", "h")]
VOCAB = {token: i for i, token in enumerate([*byte_spelling(), "th", "<|endoftext|>"])}
