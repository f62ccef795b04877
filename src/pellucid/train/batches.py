"""Which tokens are learned from at which step: a function of the seed and the step alone.

Nothing has to be remembered to go on where a run stopped, in the middle of an epoch or not, and
any number of processes agree on who takes what.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.corpus import Tokens
from ..errors import InputError

__all__ = ["IGNORE", "LOGITS", "Batches", "spans"]

IGNORE = -100  # a target from which nothing is learned; cross_entropy's default
LOGITS = 1024  # tokens whose logits live at a time: the matrix products do not notice


@dataclass
class Batches:
    """Rows of n_ctx tokens, each taken once per epoch, in an order drawn anew for each epoch.

    aligned: every row begins where a document begins (a conversation is seen from its start);
    otherwise the documents are one long text, cut at a place that differs from epoch to epoch.
    Rows in which nothing is to be learned are left out: n_left_out of them, as an epoch that is
    cut at the text's beginning has them; where the cut of another epoch leaves fewer rows, it
    takes some of its rows again, where more, it ends sooner.
    Raises InputError when the split has fewer than n_ctx + 1 tokens, or nothing to be learned.
    """

    tokens: Tokens
    n_ctx: int
    seed: int = 0
    aligned: bool = False
    _epoch: tuple[int, np.ndarray] | None = field(default=None, repr=False)
    n_left_out: int = field(default=0, init=False)
    _spans: tuple[np.ndarray, np.ndarray] | None = field(init=False, repr=False)
    _begins: np.ndarray = field(init=False, repr=False)  # of every row, before the cut is moved
    _taught: np.ndarray = field(init=False, repr=False)  # those of them that teach something

    def __post_init__(self) -> None:
        if self.tokens.n_tokens < self.n_ctx + 1:
            raise InputError(
                f"{self.tokens.n_tokens} tokens do not fill one row of {self.n_ctx} and the token "
                "after it: give more text or shorter rows (row; n_ctx of a model made anew)"
            )
        self._begins = (
            _document_rows(self.tokens, self.n_ctx)
            if self.aligned
            else np.arange(max(1, (self.tokens.n_tokens - 1) // self.n_ctx - 1)) * self.n_ctx
        )
        self._spans = None if self.tokens.learn is None else spans(self.tokens.learn)
        self._taught = self._teaching(self._begins)
        self.n_left_out = len(self._begins) - int(self._teaches(self._begins).sum())

    @property
    def n_rows(self) -> int:
        """Rows in an epoch."""
        return len(self._taught)

    def take(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows number first…first + count - 1 of the endless sequence of epochs ->
        (inputs [row, n_ctx], targets [row, n_ctx]): each target is the token that follows."""
        begins = np.array([self._begin(row) for row in range(first, first + count)])
        return self._rows(begins)

    def evenly(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Up to count rows spread evenly over the split, always the same: for validation."""
        return self._rows(self._taught[:: max(1, -(-self.n_rows // count))])

    def _begin(self, row: int) -> int:
        epoch, at = divmod(row, self.n_rows)
        if self._epoch is None or self._epoch[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            order = self._begins[rng.permutation(len(self._begins))]
            if not self.aligned:
                slack = self.tokens.n_tokens - 1 - len(order) * self.n_ctx
                order = order + int(rng.integers(0, slack + 1))
            self._epoch = (epoch, np.resize(self._teaching(order), self.n_rows))
        return int(self._epoch[1][at])

    def _teaches(self, begins: np.ndarray) -> np.ndarray:
        """Whether any target of the row that begins there is to be learned."""
        if self._spans is None:
            return np.ones(len(begins), bool)
        starts, ends = self._spans
        span = np.searchsorted(ends, begins + 1, side="right")  # the first that ends later
        known = span < len(ends)
        return np.asarray(known & (starts[np.where(known, span, 0)] <= begins + self.n_ctx))

    def _teaching(self, begins: np.ndarray) -> np.ndarray:
        """Those that teach something, in their order; a row that does where none of them does."""
        teaching: np.ndarray = begins[self._teaches(begins)]
        if len(teaching) or self._spans is None:
            return teaching
        start = max(1, int(self._spans[0][self._spans[1] > 1][0]))
        return np.array([min(start - 1, self.tokens.n_tokens - 1 - self.n_ctx)])

    def _rows(self, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = begins[:, None] + np.arange(self.n_ctx + 1)  # [row, n_ctx + 1]
        ids = np.asarray(self.tokens.ids[places], np.int64)
        targets = ids[:, 1:].copy()
        if self.tokens.learn is not None:
            targets[np.asarray(self.tokens.learn[places[:, 1:]]) == 0] = IGNORE
        return ids[:, :-1], targets


def spans(learn: np.ndarray, block: int = 1 << 24) -> tuple[np.ndarray, np.ndarray]:
    """learn [n_tokens] of 0 and 1 -> where each run of ones begins, and where it has ended.
    block: tokens looked at at a time.

    Raises InputError when there is nothing to be learned.
    """
    edges = [np.empty(0, np.int64)]
    before = 0
    for at in range(0, len(learn), block):
        part = np.asarray(learn[at : at + block]) != 0
        edges.append(np.flatnonzero(np.diff(part, prepend=before != 0)) + at)
        before = int(part[-1])
    changes = np.concatenate([*edges, [len(learn)] if before else []]).astype(np.int64)
    starts, ends = changes[::2], changes[1::2]
    if not (ends > 1).any():  # the very first token is no target
        raise InputError(
            "nothing in the corpus is to be learned: its conversations have no reply of the "
            "assistant (pellucid data --learn-all learns everybody's words)"
        )
    return starts, ends


def _document_rows(tokens: Tokens, n_ctx: int) -> np.ndarray:
    """Where rows begin so that each begins with a document, and every token is in some row.

    A document longer than a row goes on in the next one.
    """
    documents = np.asarray(tokens.documents, np.int64)
    last = tokens.n_tokens - n_ctx - 1
    begins: list[int] = []
    at = 0
    while at < last:
        begins.append(at)
        end = at + n_ctx
        # The first document that this row does not hold whole; one too long goes on at `end`.
        document = int(np.searchsorted(documents[1:], end, side="right"))
        begin = int(documents[document]) if document < tokens.n_documents else end
        at = begin if begin > at else end
    return np.array([*begins, last])
