"""What every answer has in common: the text it is about, and a form that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ContextError, InputError
from ..hparams import HParams
from ..sampling import log_softmax
from ..sequence import Alternative

if TYPE_CHECKING:
    from ..gpt import GPT
    from .terminal import Picture

__all__ = ["Finding", "chosen", "effect", "highest", "likeliest", "read", "token_id"]


class Finding:
    """Base of the answers: frozen dataclasses of numpy arrays and the labels of their axes."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dicts, with the class's name as `kind`. Numbers that
        JSON lacks (infinite, not a number) become None."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": type(self).__name__, **_plain(known)}

    def __rich__(self) -> Picture:
        """In a terminal: `rich.print(finding)`."""
        from .terminal import Picture

        return Picture(self)

    def _repr_html_(self) -> str:
        """In Jupyter and whatever follows its protocol."""
        from .page import fragment

        return fragment(self)

    def _mime_(self) -> tuple[str, str]:
        """In marimo."""
        return "text/html", self._repr_html_()


def read(gpt: GPT, text: str | Sequence[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Text or ids -> (ids, the text of each).

    Raises InputError for an empty text or an unknown id, ContextError beyond n_ctx.
    """
    ids = tuple(gpt.encode(text))
    n_ctx, n_vocab = gpt.hparams.n_ctx, gpt.hparams.n_vocab
    if not ids:
        raise InputError("the text is empty: give at least one token to look at")
    if len(ids) > n_ctx:
        raise ContextError(f"{len(ids)} tokens exceed the context window of n_ctx = {n_ctx}")
    if wrong := [token for token in ids if not 0 <= token < n_vocab]:
        raise InputError(f"token {wrong[0]} is not in the vocabulary 0…{n_vocab - 1}")
    return ids, tuple(gpt.tokenizer.decode([token]) for token in ids)


def token_id(gpt: GPT, token: str | int) -> int:
    """A token's id, from its id or its text. Raises InputError when it is not one token."""
    if isinstance(token, str):
        ids = gpt.encode(token)
        if len(ids) != 1:
            pieces = [gpt.tokenizer.decode([i]) for i in ids]
            raise InputError(f"{token!r} is {len(ids)} tokens, {pieces}: name one token")
        return ids[0]
    if not 0 <= token < gpt.hparams.n_vocab:
        raise InputError(f"token {token} is not in the vocabulary 0…{gpt.hparams.n_vocab - 1}")
    return int(token)


def chosen(indices: int | Iterable[int] | None, n: int, what: str) -> tuple[int, ...]:
    """Indices as given (negative ones count from the end) -> 0…n-1; None means all of them."""
    if indices is None:
        return tuple(range(n))
    wanted = [indices] if isinstance(indices, int | np.integer) else list(indices)
    if wrong := [i for i in wanted if not -n <= i < n]:
        raise InputError(f"there is no {what} {wrong[0]}: this has {n} (0…{n - 1})")
    return tuple(int(i) % n for i in wanted)


def likeliest(gpt: GPT, logits: np.ndarray, k: int = 5) -> tuple[Alternative, ...]:
    """logits [n_vocab] -> the k likeliest tokens, likeliest first."""
    logprobs = log_softmax(np.asarray(logits, np.float64))
    return tuple(
        Alternative(int(i), gpt.tokenizer.decode([int(i)]), float(logprobs[i]))
        for i in highest(logprobs, k)
    )


def highest(x: np.ndarray, k: int) -> np.ndarray:
    """x [..., n] -> indices of the k highest along the last axis, highest first [..., k]"""
    k = min(k, x.shape[-1])
    some = np.sort(np.argpartition(-x, k - 1, axis=-1)[..., :k], axis=-1)  # ties by index
    order = np.argsort(-np.take_along_axis(x, some, -1), axis=-1, kind="stable")
    return np.take_along_axis(some, order, -1)


def effect(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """logits [n_vocab] and [..., n_vocab] -> (KL(before ‖ after) in nats [...], the change of
    every logit [..., n_vocab], the change of every log-probability [..., n_vocab])"""
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    p, q = log_softmax(before), log_softmax(after)
    divergence = (np.exp(p) * (p - q)).sum(-1)
    return np.maximum(divergence, 0.0), after - before, q - p


def _plain(value: Any) -> Any:
    if isinstance(value, Finding):
        return value.to_dict()
    if isinstance(value, HParams):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f" or np.isfinite(value).all():
            return value.tolist()
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value
