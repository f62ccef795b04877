"""Beam search: several texts at once, of which those that are likeliest so far go on.

Greedy decoding takes the likeliest token at each step and can never go back; the likeliest text may
begin with another one. Here each step keeps the `beams` likeliest of all texts that go on by one
token; those that ended are set aside. Longer texts have lower probabilities, so what has ended is
compared by

    log P(text) / ((5 + |text|) / 6)^alpha

("Attention Is All You Need", §6.1; Wu et al., arXiv 1609.08144, equation 14). Pure: a function says
what may come next, and no model is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .errors import InputError

__all__ = ["ALPHA", "BEAMS", "Beam", "BeamSearch", "Hypothesis", "beam_search", "length_penalty"]

BEAMS, ALPHA = 4, 0.6  # the paper's (§6.1)

# (rows, tokens): the texts that go on, each of them a row of the step before with one token more
# -> the log-probabilities of what may follow each, [row, n_vocab], in nats.
Following = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """How to search. beams: how many texts go on at once; 1 is greedy. alpha: how much longer texts
    are favoured; 0 not at all. max_tokens: of a text, the one that ends it among them.

    Raises InputError for what is out of range.
    """

    beams: int = BEAMS
    alpha: float = ALPHA
    max_tokens: int

    def __post_init__(self) -> None:
        if not 1 <= self.beams <= 1024:
            raise InputError(f"beams must be between 1 and 1024, not {self.beams}")
        if not 0 <= self.alpha <= 10:
            raise InputError(f"alpha must be between 0 and 10, not {self.alpha}")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, not {self.max_tokens}")


class Hypothesis(NamedTuple):
    """A text that was looked at. logprob: of all its tokens, in nats. score: that by its length.
    ended: whether its last token ends it. parent: which one of the step before it goes on from."""

    tokens: tuple[int, ...]
    logprob: float
    score: float
    ended: bool
    parent: int


class BeamSearch(NamedTuple):
    """What was found. best: the ended texts, best first; those that were cut off where none ended.
    steps: after each step the texts that were kept, the ended ones among them, likeliest first;
    `parent` is a place among those of the step before that go on."""

    best: tuple[Hypothesis, ...]
    steps: tuple[tuple[Hypothesis, ...], ...]


def length_penalty(n: int, alpha: float) -> float:
    """((5 + n) / 6)^alpha: what the log-probability of n tokens is divided by."""
    return float(((5 + n) / 6) ** alpha)


def beam_search(following: Following, *, start: int, end: int, beam: Beam) -> BeamSearch:
    """The likeliest text that begins after the token `start` and ends with `end`.

    It stops where no text that goes on could still overtake the best one that has ended. With as
    many beams as there are texts it is exhaustive.
    """
    live = [Hypothesis((), 0.0, 0.0, False, 0)]
    ended: list[Hypothesis] = []
    steps: list[tuple[Hypothesis, ...]] = []
    rows, tokens = np.zeros(1, np.int64), np.array([start], np.int64)
    for n in range(1, beam.max_tokens + 1):
        logprobs = np.asarray(following(rows, tokens), np.float64)
        kept = _likeliest(live, logprobs, end, length_penalty(n, beam.alpha), beam.beams)
        steps.append(kept)
        live = [each for each in kept if not each.ended]
        ended = sorted((*ended, *(each for each in kept if each.ended)), key=lambda e: -e.score)
        # The highest score a text that goes on can reach: not one token more costs anything.
        highest = max((each.logprob for each in live), default=-np.inf)
        within = highest / length_penalty(beam.max_tokens, beam.alpha)
        if not live or (ended and within <= ended[0].score):
            break
        rows = np.array([each.parent for each in live])
        tokens = np.array([each.tokens[-1] for each in live])
    return BeamSearch(tuple(ended or live), tuple(steps))


def _likeliest(
    live: list[Hypothesis], logprobs: np.ndarray, end: int, penalty: float, n: int
) -> tuple[Hypothesis, ...]:
    """The n likeliest of all texts with one token more, likeliest first; of equal ones those that
    come first."""
    totals = np.array([each.logprob for each in live])[:, None] + logprobs  # [row, n_vocab]
    flat = totals.ravel()
    some = np.sort(np.argpartition(-flat, min(n, flat.size) - 1)[:n])
    order = some[np.argsort(-flat[some], kind="stable")]
    n_vocab = logprobs.shape[1]
    return tuple(
        Hypothesis(
            (*live[at // n_vocab].tokens, int(at % n_vocab)),
            float(flat[at]),
            float(flat[at]) / penalty,
            int(at % n_vocab) == end,
            int(at // n_vocab),
        )
        for at in order
        if flat[at] > -np.inf
    )
