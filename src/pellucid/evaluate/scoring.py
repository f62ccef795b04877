"""How likely a model finds given tokens: the one computation behind every score here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Row", "Scored", "check_batch", "loglikelihoods", "opening", "opening_words", "pair"]

_LOGITS = 1 << 26  # logits of a batch held at a time, unless the caller chooses the batch
_POOL = 16  # batches within which rows are sorted by length, so that little is padding
_POSITIONS = 64  # positions whose exponentials are held at a time


class Row(NamedTuple):
    """ids: context and what is scored. n_scored: how many of the last ids are scored. n_cut: how
    many stood before them and did not fit into the window."""

    ids: list[int]
    n_scored: int
    n_cut: int = 0


class Scored(NamedTuple):
    """row: which one. logprobs, greedy [n_scored]: the natural logarithm of each id's
    probability, and whether it is the likeliest of all."""

    row: int
    logprobs: np.ndarray
    greedy: np.ndarray


def check_batch(batch: int | None) -> None:
    if batch is not None and batch < 1:
        raise InputError(f"batch must be at least 1, not {batch}")


def loglikelihoods(gpt: GPT, rows: Iterable[Row], *, batch: int | None = None) -> Iterator[Scored]:
    """Score rows, some at a time; they come back sorted by length within a pool.

    rows: each of at most n_ctx + 1 ids, of which the first is never scored. batch: rows at a
    time (None: as many as keep the logits small). Raises InputError for a row out of range.
    """
    check_batch(batch)
    numbered = enumerate(rows)
    n_vocab, n_ctx = gpt.hparams.n_vocab, gpt.hparams.n_ctx
    pool_size = _POOL * (batch or max(1, _LOGITS // (n_vocab * n_ctx)))
    while pool := list(islice(numbered, pool_size)):
        pool.sort(key=lambda entry: len(entry[1].ids))
        at = 0
        while at < len(pool):
            size = batch or _fitting(pool[at:], n_vocab)
            yield from _score(gpt, pool[at : at + size])
            at += size


def _fitting(pool: list[tuple[int, Row]], n_vocab: int) -> int:
    """How many rows of the pool, shortest first, go into one batch."""
    for size, (_, row) in enumerate(pool, 1):
        if size * len(row.ids) * n_vocab > _LOGITS:
            return max(1, size - 1)
    return len(pool)


def _score(gpt: GPT, rows: list[tuple[int, Row]]) -> list[Scored]:
    """One forward pass. Padding stands behind a row's end, where no token of it looks."""
    longest = max(len(row.ids) for _, row in rows) - 1
    for _, row in rows:
        if not 1 <= row.n_scored < len(row.ids) <= gpt.hparams.n_ctx + 1:
            raise InputError(
                f"cannot score {row.n_scored} of {len(row.ids)} tokens in a window of "
                f"{gpt.hparams.n_ctx}"
            )
    inputs = np.zeros((len(rows), longest), np.int64)
    for at, (_, row) in enumerate(rows):
        inputs[at, : len(row.ids) - 1] = row.ids[:-1]
    logits = gpt.forward(inputs)  # [batch, position, n_vocab]
    scored = []
    for at, (index, row) in enumerate(rows):
        end = len(row.ids) - 1
        targets = np.asarray(row.ids[-row.n_scored :], np.int64)
        logprobs, greedy = _of_targets(gpt, logits[at, end - row.n_scored : end], targets)
        scored.append(Scored(index, logprobs, greedy))
    return scored


def _of_targets(gpt: GPT, logits: object, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """logits [position, n_vocab], targets [position] -> logprobs, greedy [position]"""
    logprobs = np.empty(len(targets))
    greedy = np.empty(len(targets), bool)
    for low in range(0, len(targets), _POSITIONS):
        part = slice(low, low + _POSITIONS)
        x = gpt.model.backend.to_numpy(logits[part])  # type: ignore[index]
        highest = x.max(-1, keepdims=True)
        total = np.log(np.exp(x - highest).sum(-1, dtype=np.float64))
        chosen = x[np.arange(len(x)), targets[part]]
        logprobs[part] = (chosen - highest[:, 0]).astype(np.float64) - total
        greedy[part] = x.argmax(-1) == targets[part]
    return logprobs, greedy


def opening(gpt: GPT) -> list[int]:
    """The ids that a text begins with, given and not scored: what its tokenizer puts there, else
    the model's bos, else the end-of-text token; [] where it has none of them."""
    if gpt.tokenizer.rules.begin:
        return list(gpt.tokenizer.rules.begin)
    first = gpt.roles.bos if gpt.roles.bos is not None else gpt.tokenizer.end_of_text
    return [] if first is None else [first]


def opening_words(gpt: GPT) -> str:
    """The same for a protocol."""
    begin = opening(gpt)
    if not begin:
        return "its first token given, as there is no end-of-text token"
    if begin == [gpt.tokenizer.end_of_text]:
        return "after the end-of-text token, not scored"
    return f"after {gpt.tokenizer.decode(begin)}, not scored"


def pair(gpt: GPT, context: str, continuation: str, allowed_special: Collection[str] = ()) -> Row:
    """Context and continuation -> a row that scores the continuation.

    As lm_eval does: both are encoded as one text and split where the context alone ends; spaces
    at the context's end go to the continuation. An empty context is the `opening`. What ends a
    text is not scored: the continuation may go on. A context too long for the window loses its
    beginning. allowed_special: tokens that the context is written with, as `Tokenizer.encode`
    takes them.
    """

    def begun(text: str) -> list[int]:
        return gpt.tokenizer.framed(gpt.tokenizer.encode(text, allowed_special), ends=False)

    kept = context.rstrip()
    if kept:
        whole = begun(context + continuation)
        before = len(begun(kept))
    else:
        begin = opening(gpt)
        whole = [*begin, *gpt.tokenizer.encode(context + continuation)]
        before = max(1, len(begin))
    n_scored = len(whole) - before
    if n_scored < 1:
        raise InputError(f"nothing is left to score after the context: {continuation[:40]!r}")
    if n_scored > gpt.hparams.n_ctx:
        raise InputError(
            f"a continuation of {n_scored} tokens exceeds the window of {gpt.hparams.n_ctx}: "
            f"{continuation[:40]!r}"
        )
    kept_ids = whole[-(gpt.hparams.n_ctx + 1) :]
    return Row(kept_ids, n_scored, len(whole) - len(kept_ids))
