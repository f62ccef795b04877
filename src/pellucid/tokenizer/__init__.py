"""Text ↔ tokens: GPT-2's byte-level byte-pair encoding, with the merges behind each token.

`bpe.py` is the idea, on one page. `tokenizer.py` is the class over it, `splits.py` what a word is
to the families of models that share it, `bulk.py` the same encoding fast, `check.py` what a
vocabulary must be, `learn.py` how one is found, `files.py` how it is kept, `stream.py` the way back
to text, token by token.
"""

from __future__ import annotations

from .bpe import SPLIT, Merge, MergedWord, byte_symbols, split
from .files import named_roles
from .ids_only import IdsOnly
from .rules import Added, Rules, whole_characters
from .stream import StreamDecoder
from .tokenizer import END_OF_TEXT, Piece, Tokenizer
from .tokenizer_json import ForeignTokenizer

__all__ = [
    "END_OF_TEXT",
    "SPLIT",
    "Added",
    "ForeignTokenizer",
    "IdsOnly",
    "Merge",
    "MergedWord",
    "Piece",
    "Rules",
    "StreamDecoder",
    "Tokenizer",
    "byte_symbols",
    "named_roles",
    "split",
    "whole_characters",
]
