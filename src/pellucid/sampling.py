"""Logits → distribution → one token, with every distribution on the way."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from .errors import InputError
from .row import Row, reached

__all__ = [
    "DRAWING",
    "Sampling",
    "Stage",
    "draw",
    "log_softmax",
    "nucleus",
    "recommended",
    "softmax",
    "without",
]

# Settings without a meaning where sampling is greedy.
DRAWING = ("temperature", "top_k", "top_p", "min_p")

_BLOCK = 256  # numbers summed at a time


class Stage(NamedTuple):
    """One step from the model's logits to the distribution that a token is drawn from."""

    name: str
    logits: np.ndarray  # [n_vocab]; -∞ where the token is out of the question

    @property
    def probabilities(self) -> np.ndarray:
        """[n_vocab], summing to 1"""
        return softmax(self.logits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen. The defaults draw from the model's own distribution.

    greedy: the one token with the highest probability. temperature: divides the logits; 0 is
    greedy. top_k: only the k likeliest. top_p: only the likeliest that together reach p
    (nucleus, arXiv 1904.09751). min_p: only those at least min_p times as likely as the
    likeliest (arXiv 2407.01082). repetition_penalty: divides the positive and multiplies the
    negative logits of tokens seen before (CTRL, arXiv 1909.05858). presence_penalty and
    frequency_penalty: subtracted once, and once per occurrence, for tokens generated so far.
    Raises InputError when a value is out of range.
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.greedy, bool | np.bool_):
            raise InputError(f"greedy must be true or false, not {self.greedy!r}")
        _check("temperature", self.temperature, 0, 100)
        _check("repetition_penalty", self.repetition_penalty, 0.01, 100)
        _check("presence_penalty", self.presence_penalty, -100, 100)
        _check("frequency_penalty", self.frequency_penalty, -100, 100)
        if self.top_p is not None:
            _check("top_p", self.top_p, 0, 1)
        if self.min_p is not None:
            _check("min_p", self.min_p, 0, 1)
        if self.top_k is not None and (
            isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1
        ):
            raise InputError(f"top_k must be a whole number of at least 1, not {self.top_k!r}")

    def stages(
        self,
        logits: np.ndarray,
        prompt: Sequence[int] = (),
        generated: Sequence[int] = (),
        unused: Collection[int] = (),
    ) -> list[Stage]:
        """logits [n_vocab] -> the distributions, the model's own first; what does nothing is
        left out. prompt, generated: the token ids so far, for the penalties. unused: ids that
        stand for no token."""
        # float64: cumulative sums of 50,257 float32 probabilities would decide by rounding
        stages = [Stage("model", np.asarray(logits, np.float64))]
        if unused:
            stages.append(Stage("padding left out", without(stages[-1].logits, unused)))
        stages += self._penalties(stages[-1].logits, prompt, generated)
        stages += self._cuts(stages[-1].logits)
        return stages

    def choose(
        self,
        logits: np.ndarray | Row,
        prompt: Sequence[int],
        generated: Sequence[int],
        seed: int,
        position: int,
        unused: Collection[int] = (),
    ) -> int:
        """The token for `position`. The same logits, seed and position give the same token,
        whatever else is generated beside it. prompt, generated: read where it `penalizes`."""
        row = logits if isinstance(logits, Row) else Row(logits)
        greedy = self.greedy or self.temperature == 0
        # Where the likeliest of all ids stands for a token, it is the likeliest token.
        if self.penalizes or (unused and not (greedy and row.first not in unused)):
            x = without(row.logits, unused)
            for stage in self._penalties(x, prompt, generated):
                x = stage.logits
            row = Row(x)
        if greedy:
            if not self.greedy and not math.isfinite(row.highest):  # as where it is drawn
                raise InputError("no token is likeliest: every logit is -∞, or one is not a number")
            return row.first
        if (few := self._few(row)) is not None:
            ids, left = few
            return int(ids[draw(left, seed, position)])
        if self.temperature == 1 and not self.min_p and row.finite:
            return _drawn(row.weights, seed, position)
        x = np.asarray(row.logits, np.float64)
        for stage in self._cuts(x):
            x = stage.logits
        return draw(x, seed, position)

    @property
    def penalizes(self) -> bool:
        """Whether it matters which tokens were there before."""
        return bool(self.repetition_penalty != 1 or self.presence_penalty or self.frequency_penalty)

    def _penalties(
        self, x: np.ndarray, prompt: Sequence[int], generated: Sequence[int]
    ) -> Iterator[Stage]:
        """logits [n_vocab] -> those with less for what was there before, one after the other."""
        if self.repetition_penalty != 1 and (len(prompt) or len(generated)):
            seen = np.unique(np.asarray([*prompt, *generated], np.int64))
            x = np.array(x, np.float64)
            x[seen] = np.where(
                x[seen] > 0, x[seen] / self.repetition_penalty, x[seen] * self.repetition_penalty
            )
            yield Stage("repetition penalty", x)
        if (self.presence_penalty or self.frequency_penalty) and len(generated):
            tokens, counts = np.unique(np.asarray(generated, np.int64), return_counts=True)
            x = np.array(x, np.float64)
            x[tokens] -= self.presence_penalty + self.frequency_penalty * counts
            yield Stage("presence and frequency penalty", x)

    def _cuts(self, x: np.ndarray) -> Iterator[Stage]:
        """logits [n_vocab] in float64 -> what temperature and filters make of them."""
        if self.greedy or self.temperature == 0:
            yield Stage("greedy", _only(x, np.argmax(x, keepdims=True)))
            return
        if self.temperature != 1:
            with np.errstate(over="ignore"):  # from the maximum, so that only -∞ can overflow
                x = x - x.max()
                x /= self.temperature
            yield Stage("temperature", x)
        if self.top_k is not None and self.top_k < x.size:
            x = _only(x, _likeliest_set(x, self.top_k))
            yield Stage("top-k", x)
        if self.top_p is not None and self.top_p < 1:
            x = _only(x, nucleus(x, self.top_p))
            yield Stage("top-p", x)
        if self.min_p:
            x = np.where(x >= x.max() + math.log(self.min_p), x, -np.inf)
            yield Stage("min-p", x)

    def _few(self, row: Row) -> tuple[np.ndarray, np.ndarray] | None:
        """-> (ids in ascending order, their logits): what the last of `_cuts`
        leaves, found without walking the whole vocabulary at every one of them. None where there
        is nothing to gain."""
        ids, logits = None, row.logits
        if self.top_k is not None and self.top_k < logits.size:
            ids = _likeliest_set(logits, self.top_k)
        top_p = 1.0 if self.top_p is None else self.top_p
        if ids is None and top_p == 1:
            return None
        x = logits if ids is None else logits[ids]
        highest = row.highest if ids is None else float(x.max(initial=-np.inf))
        if not math.isfinite(highest):
            return None
        x = np.asarray(x, np.float64)
        if self.temperature != 1:
            with np.errstate(over="ignore"):
                x = x - highest
                x /= self.temperature
        if ids is None or top_p < 1:
            shared = ids is None and self.temperature == 1
            kept = _nucleus(row.weights if shared else _weights(x, x.max()), top_p)
            ids, x = kept if ids is None else ids[kept], x[kept]
        if self.min_p:
            likely = x >= x.max() + math.log(self.min_p)
            ids, x = ids[likely], x[likely]
        return ids, x


def without(logits: np.ndarray, unused: Collection[int]) -> np.ndarray:
    """logits [n_vocab] with -∞ for the ids that stand for no token."""
    if not unused:
        return logits
    x = np.array(logits)
    x[list(unused)] = -np.inf
    return x


def recommended(card: Mapping[str, Any], chosen: Container[str] = ()) -> dict[str, Any]:
    """The sampling that a model's card recommends; not its greedy where a way to draw is chosen."""
    sampling = card.get("sampling")
    values = dict(sampling) if isinstance(sampling, Mapping) else {}
    if any(name in chosen for name in DRAWING):
        values.pop("greedy", None)
    return values


def draw(logits: np.ndarray, seed: int, position: int) -> int:
    """One token from softmax(logits): the inverse of the cumulative distribution at a uniform
    number that seed and position alone determine, so any step can be drawn again."""
    highest = logits.max(initial=-np.inf)
    if not (np.isfinite(highest) and np.isfinite(logits.min())):
        possible = np.flatnonzero(np.isfinite(logits))
        if not possible.size:
            raise InputError("no token is left to draw: every logit is -∞ or not a number")
        return int(possible[draw(logits[possible], seed, position)])
    return _drawn(_weights(logits, highest), seed, position)


def _drawn(weights: np.ndarray, seed: int, position: int) -> int:
    uniform = np.random.default_rng([seed, position]).random() * weights.sum()
    return min(_reaching(weights, uniform, "right"), weights.size - 1)


def _weights(logits: np.ndarray, highest: float) -> np.ndarray:
    """Probabilities up to a factor, the highest of them 1."""
    weights = logits - highest
    return np.asarray(np.exp(weights, out=weights))


def softmax(logits: np.ndarray) -> np.ndarray:
    """[..., n] -> [..., n], summing to 1 along the last axis."""
    exponentials = np.asarray(np.exp(logits - logits.max(-1, keepdims=True)))
    exponentials /= exponentials.sum(-1, keepdims=True)
    return exponentials


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[..., n] -> [..., n]: log-probabilities (natural logarithm)."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _likeliest_set(x: np.ndarray, n: int) -> np.ndarray:
    """Ids of the n likeliest tokens still possible, in ascending order; ties by id."""
    ids = reached(x, n)
    few = x[ids]
    parted = few.copy()
    parted.partition(few.size - n)
    chosen = _highest(few, parted.item(few.size - n), n)
    return np.asarray(ids[chosen[np.isfinite(few[chosen])]])


def _highest(x: np.ndarray, least: float, n: int) -> np.ndarray:
    """Ids of the n highest of x, of which `least` is the lowest; ties by id."""
    chosen = x > least
    if missing := n - np.count_nonzero(chosen):
        chosen[(x == least).nonzero()[0][:missing]] = True
    return chosen.nonzero()[0]


def nucleus(x: np.ndarray, p: float, at_first: int = 256) -> np.ndarray:
    """logits [n_vocab] -> ids of the fewest likeliest tokens that together reach p, in ascending
    order. at_first: of so many it is tried."""
    return _nucleus(_weights(x, x.max()), p, at_first)


def _nucleus(weights: np.ndarray, p: float, at_first: int = 256) -> np.ndarray:
    """As `nucleus`, of probabilities up to a factor. Only numbers are sorted, never ids: numpy
    sorts those fifty times as fast."""
    total = weights.sum()
    # All those below this have less than half of 1 - p together, so they are not in it.
    ids = np.flatnonzero(weights > (1 - p) / 2 * total / weights.size)
    if not ids.size:  # some are not numbers
        return ids
    few = weights[ids]
    falling = np.sort(few[reached(few, min(at_first, few.size))])[::-1]
    count = 1 + _reaching(falling, p * total, "left")
    if count > falling.size:
        falling = np.sort(few)[::-1]
        count = min(falling.size, 1 + _reaching(falling, p * total, "left"))
    return np.asarray(ids[_highest(few, float(falling[count - 1]), count)])


def _reaching(weights: np.ndarray, target: float, side: Literal["left", "right"]) -> int:
    """np.searchsorted(np.cumsum(weights), target, side) up to rounding, by sums of blocks first:
    in one long cumulative sum each addition waits for the one before."""
    if weights.size <= _BLOCK:
        return int(np.add.accumulate(weights).searchsorted(target, side))
    starts = np.arange(0, weights.size, _BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts))
    block = min(int(np.searchsorted(sums, target, side)), sums.size - 1)
    before = sums[block - 1] if block else 0.0
    within = before + np.cumsum(weights[starts[block] : starts[block] + _BLOCK])
    return int(starts[block] + np.searchsorted(within, target, side))


def _only(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    out = np.full_like(x, -np.inf)
    out[keep] = x[keep]
    return out


def _check(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{name} must be a number between {low} and {high}, not {value!r}")
