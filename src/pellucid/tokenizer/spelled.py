"""Pieces of a text, and the merges behind them, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..visible import visible_bytes
from .bpe import MergedWord
from .tokenizer import Piece

__all__ = ["spelled"]


def spelled(
    text: str, pieces: Iterable[Piece], words: Iterable[MergedWord] | None
) -> dict[str, Any]:
    """words: with the merges that formed them, where those are asked for."""
    tokens = [{"id": piece.id, "text": piece.text, "bytes": list(piece.bytes)} for piece in pieces]
    if words is None:
        return {"text": text, "tokens": tokens}
    merged = [
        {
            "text": word.text,
            "merges": [
                {
                    "rank": merge.rank,
                    "pair": [visible_bytes(part) for part in merge.pair],
                    "parts": [visible_bytes(part) for part in merge.parts],
                }
                for merge in word.merges
            ],
        }
        for word in words
    ]
    return {"text": text, "tokens": tokens, "words": merged}
