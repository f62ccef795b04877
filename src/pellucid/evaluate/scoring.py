"""How likely a model finds given tokens: the one computation behind every score here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import InputError
from .rows import LOGITS, NEAR, Row, Scored, of_targets
from .tree import by_branches

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Row", "Scored", "check_batch", "loglikelihoods", "opening", "opening_words", "pair"]

_POOL = 16  # batches within which rows are sorted by length, so that little is padding


def check_batch(batch: int | None) -> None:
    if batch is not None and batch < 1:
        raise InputError(f"batch must be at least 1, not {batch}")


def loglikelihoods(gpt: GPT, rows: Iterable[Row], *, batch: int | None = None) -> Iterator[Scored]:
    """Score rows, some at a time; they come back in another order.

    rows: each of at most n_ctx + 1 ids, of which the first is never scored; what they begin with
    alike is computed once. batch: rows at a time (None: as many as are fastest and keep what is
    held small).
    Raises InputError for a row out of range.
    """
    check_batch(batch)
    numbered = _checked(rows, gpt.hparams.n_ctx)
    if getattr(gpt.model.backend, "side_by_side", False):
        yield from by_branches(gpt, numbered, batch)
    else:
        yield from _in_batches(gpt, numbered, batch)


def _checked(rows: Iterable[Row], n_ctx: int) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(rows):
        if not 1 <= row.n_scored < len(row.ids) <= n_ctx + 1:
            raise InputError(
                f"cannot score {row.n_scored} of {len(row.ids)} tokens in a window of {n_ctx}"
            )
        yield number, row


def _in_batches(
    gpt: GPT, numbered: Iterator[tuple[int, Row]], batch: int | None
) -> Iterator[Scored]:
    """Where a batch of rows of one length is what a device does best."""
    n_vocab, n_ctx = gpt.hparams.n_vocab, gpt.hparams.n_ctx
    # A device of its own says how many positions it does best at a time.
    positions = min(LOGITS // n_vocab, getattr(gpt.model.backend, "positions", NEAR))

    def most(longest: int) -> int:
        """Rows that are computed at a time."""
        return batch or max(1, positions // longest)

    pool_size = _POOL * (batch or max(1, LOGITS // (n_vocab * n_ctx)))
    while pool := list(islice(numbered, pool_size)):
        alone, alike = _groups(pool, most)
        for kind, score in ((alone, _alone), (alike, _alike)):
            kind.sort(key=lambda group: _longest(group.rows))
            while kind:
                n = _fitting(kind, most, n_ctx)
                yield from score(gpt, kind[:n])
                del kind[:n]


class _Group(NamedTuple):
    """rows: numbered. n_shared: how many ids they begin with alike, 0 of one alone."""

    rows: list[tuple[int, Row]]
    n_shared: int


def _groups(
    pool: list[tuple[int, Row]], most: Callable[[int], int]
) -> tuple[list[_Group], list[_Group]]:
    """-> (rows for themselves, neighbours of which a quarter or more begins alike)"""
    found = [_Group(pool[:1], 0)]
    for entry in pool[1:]:
        rows = [*found[-1].rows, entry]
        n = _n_alike(rows[0][1].ids, entry[1].ids)
        if n and found[-1].n_shared:
            n = min(n, found[-1].n_shared)
        if 4 * n >= _longest(rows) and len(rows) <= most(_longest(rows)):
            found[-1] = _Group(rows, n)
        else:
            found.append(_Group([entry], 0))
    return [each for each in found if not each.n_shared], [each for each in found if each.n_shared]


def _n_alike(some: list[int], others: list[int]) -> int:
    """How many ids both begin with, of those that are fed; each is fed at least one more."""
    most = max(0, min(len(some), len(others)) - 2)
    return next((at for at in range(most) if some[at] != others[at]), most)


def _longest(rows: list[tuple[int, Row]]) -> int:
    return max(len(row.ids) for _, row in rows)


def _fitting(groups: list[_Group], most: Callable[[int], int], n_ctx: int) -> int:
    """How many of them, shortest first, are computed at a time: padded, they fit the window too."""
    n_rows = begun = gone_on = 0
    for n, group in enumerate(groups):
        n_rows += len(group.rows)
        begun = max(begun, group.n_shared)
        gone_on = max(gone_on, _longest(group.rows) - 1 - group.n_shared)
        too_many = n_rows > most(_longest(group.rows))
        if n and (too_many or begun + gone_on > n_ctx):
            return n
    return len(groups)


def _alone(gpt: GPT, groups: list[_Group]) -> Iterator[Scored]:
    """One forward pass. Padding stands behind a row's end, where no token of it looks."""
    rows = [entry for group in groups for entry in group.rows]
    logits = gpt.forward(_padded([row.ids[:-1] for _, row in rows]))  # [batch, position, n_vocab]
    for at, (index, row) in enumerate(rows):
        end = len(row.ids) - 1
        targets = np.asarray(row.ids[-row.n_scored :], np.int64)
        yield Scored(index, *of_targets(gpt, logits[at, end - row.n_scored : end], targets))


def _alike(gpt: GPT, groups: list[_Group]) -> Iterator[Scored]:
    """One forward pass over what they begin with, and one over how each goes on."""
    shared = [group.n_shared for group in groups]
    rows = [(n, *entry) for n, group in enumerate(groups) for entry in group.rows]
    begun = [group.rows[0][1].ids[: group.n_shared] for group in groups]
    rest = [row.ids[shared[n] : -1] for n, _, row in rows]
    cache = gpt.model.new_cache(len(groups), room=max(shared) + max(map(len, rest)))
    first = gpt.forward(_padded(begun), cache, lengths=shared)  # [group, position, n_vocab]
    cache.follow([n for n, _, _ in rows])
    second = gpt.forward(_padded(rest), cache, lengths=[len(ids) for ids in rest])
    for at, (n, index, row) in enumerate(rows):
        begin, end = len(row.ids) - 1 - row.n_scored, len(row.ids) - 1  # positions asked for
        targets = np.asarray(row.ids[begin + 1 :], np.int64)
        cut = max(begin, shared[n])
        parts = (
            of_targets(gpt, first[n, begin:cut], targets[: cut - begin]),
            of_targets(gpt, second[at, cut - shared[n] : end - shared[n]], targets[cut - begin :]),
        )
        yield Scored(index, *(np.concatenate(each) for each in zip(*parts, strict=True)))


def _padded(ids: list[list[int]]) -> np.ndarray:
    """[row, position], zeros behind a row's end."""
    padded = np.zeros((len(ids), max(map(len, ids))), np.int64)
    for row, own in zip(padded, ids, strict=True):
        row[: len(own)] = own
    return padded


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
