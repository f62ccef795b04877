"""Token ids as a pass takes them: whole numbers of the vocabulary, one text a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["check_tokenizer", "checked_ids", "checked_lengths"]

_FEW = 64


def checked_ids(tokens: Any, n_vocab: int, what: str = "tokens") -> np.ndarray:
    """tokens [position] or [batch, position] -> [batch, position]

    what: how an error calls them. Raises InputError for what are no ids of the vocabulary.
    """
    ids = np.asarray(tokens)
    if ids.size == 0 or ids.ndim not in (1, 2) or ids.dtype.kind not in "iu":
        raise InputError(f"{what} must be whole numbers, [position] or [batch, position]")
    # The few of a step Python looks through faster: numpy's way there is long.
    listed: Any = ids.ravel().tolist() if ids.size <= _FEW else None
    low, high = (ids.min(), ids.max()) if listed is None else (min(listed), max(listed))
    if low < 0 or high >= n_vocab:
        wrong = int(low if low < 0 else high)
        raise InputError(f"token {wrong} is not in the vocabulary 0…{n_vocab - 1}")
    return ids if ids.ndim == 2 else ids[None]


def checked_lengths(lengths: Any, ids: np.ndarray) -> np.ndarray:
    """lengths [batch]: how many ids [batch, position] of each row are no padding -> the same, as an
    array. Raises InputError where one is out of range."""
    counts = np.asarray(lengths)
    most = ids.shape[1]
    if counts.shape != ids.shape[:1] or not ((counts >= 1).all() and (counts <= most).all()):
        raise InputError(f"lengths must be one number from 1 to {most} per row")
    return counts


def check_tokenizer(n_tokens: int, n_vocab: int) -> None:
    """Raises InputError where a tokenizer knows more or fewer tokens than the model."""
    if n_tokens != n_vocab:
        raise InputError(
            f"the tokenizer has {n_tokens} tokens, the model {n_vocab}: they do not belong together"
        )
