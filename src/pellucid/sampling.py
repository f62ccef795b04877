"""Logits → distribution → one token, with every distribution on the way."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from .errors import InputError

__all__ = [
    "DRAWING",
    "Sampling",
    "Stage",
    "draw",
    "likeliest_ids",
    "log_probabilities",
    "log_softmax",
    "nucleus",
    "recommended",
    "softmax",
    "without",
]

# Settings without a meaning where sampling is greedy.
DRAWING = ("temperature", "top_k", "top_p", "min_p")

_BLOCK = 256  # numbers summed at a time
_PART = 64  # numbers of which the highest is looked for


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
        x = np.asarray(logits, np.float64)
        stages = [Stage("model", x)]
        if unused:
            x = without(x, unused)
            stages.append(Stage("padding left out", x))
        if self.repetition_penalty != 1 and (len(prompt) or len(generated)):
            seen = np.unique(np.asarray([*prompt, *generated], np.int64))
            x = x.copy()
            x[seen] = np.where(
                x[seen] > 0, x[seen] / self.repetition_penalty, x[seen] * self.repetition_penalty
            )
            stages.append(Stage("repetition penalty", x))
        if (self.presence_penalty or self.frequency_penalty) and len(generated):
            tokens, counts = np.unique(np.asarray(generated, np.int64), return_counts=True)
            x = x.copy()
            x[tokens] -= self.presence_penalty + self.frequency_penalty * counts
            stages.append(Stage("presence and frequency penalty", x))
        if self.greedy or self.temperature == 0:
            stages.append(Stage("greedy", _only(x, np.argmax(x, keepdims=True))))
            return stages
        if self.temperature != 1:
            with np.errstate(over="ignore"):  # from the maximum, so that only -∞ can overflow
                x = x - x.max()
                x /= self.temperature
            stages.append(Stage("temperature", x))
        if self.top_k is not None and self.top_k < x.size:
            x = _only(x, _likeliest_set(x, self.top_k))
            stages.append(Stage("top-k", x))
        if self.top_p is not None and self.top_p < 1:
            x = _only(x, nucleus(x, self.top_p))
            stages.append(Stage("top-p", x))
        if self.min_p:
            x = np.where(x >= x.max() + math.log(self.min_p), x, -np.inf)
            stages.append(Stage("min-p", x))
        return stages

    def choose(
        self,
        logits: np.ndarray,
        prompt: Sequence[int],
        generated: Sequence[int],
        seed: int,
        position: int,
        unused: Collection[int] = (),
    ) -> int:
        """The token for `position`. The same logits, seed and position give the same token,
        whatever else is generated beside it."""
        if (
            self.greedy
            and self.repetition_penalty == 1
            and not (self.presence_penalty or self.frequency_penalty)
        ):
            return int(np.argmax(without(logits, unused)))
        if (few := self._few(without(logits, unused))) is not None:
            ids, left = few
            return int(ids[draw(left, seed, position)])
        return draw(self.stages(logits, prompt, generated, unused)[-1].logits, seed, position)

    def _few(
        self, logits: np.ndarray, at_first: int = 1024
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """logits [n_vocab] -> (ids in ascending order, their logits): what the last of `stages`
        leaves, found without walking the whole vocabulary at every one of them. None where there
        is nothing to gain. at_first: so many are tried before the whole vocabulary is sorted."""
        same_order = self.repetition_penalty == 1 and not (
            self.presence_penalty or self.frequency_penalty
        )
        nucleus = self.top_p is not None and self.top_p < 1
        n = at_first if self.top_k is None else self.top_k
        if not same_order or self.greedy or self.temperature == 0 or n >= logits.size:
            return None
        if self.top_k is None and not nucleus:
            return None
        ids = _likeliest_set(logits, n)
        if not ids.size:
            return None
        highest = float(logits[ids].max())

        def scaled(some: np.ndarray) -> np.ndarray:
            if self.temperature == 1:
                return np.asarray(some, np.float64)
            with np.errstate(over="ignore"):
                return np.asarray(np.subtract(some, highest, dtype=np.float64) / self.temperature)

        if nucleus:
            assert self.top_p is not None
            # With top-k of the k's probability, else of everybody's.
            weights = softmax(scaled(logits if self.top_k is None else logits[ids]))
            few = weights if self.top_k is not None else weights[ids]
            falling = np.sort(few)[::-1]
            count = 1 + _reaching(falling, self.top_p, "left")
            if count > few.size and self.top_k is None:
                ids = np.flatnonzero(np.isfinite(logits))
                few = weights if ids.size == weights.size else weights[ids]
                falling = np.sort(few)[::-1]
                count = 1 + _reaching(falling, self.top_p, "left")
            count = min(count, few.size)
            ids = ids[_highest(few, float(falling[count - 1]), count, few)]
        x = scaled(logits[ids])
        if self.min_p:
            kept = x >= x.max() + math.log(self.min_p)
            ids, x = ids[kept], x[kept]
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
    possible = np.flatnonzero(np.isfinite(logits))
    if not possible.size:
        raise InputError("no token is left to draw: every logit is -∞ or not a number")
    weights = softmax(logits if possible.size == logits.size else logits[possible])
    uniform = np.random.default_rng([seed, position]).random() * weights.sum()
    return int(possible[min(_reaching(weights, uniform, "right"), possible.size - 1)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """[..., n] -> [..., n], summing to 1 along the last axis."""
    exponentials = np.asarray(np.exp(logits - logits.max(-1, keepdims=True)))
    exponentials /= exponentials.sum(-1, keepdims=True)
    return exponentials


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[..., n] -> [..., n]: log-probabilities (natural logarithm)."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def log_probabilities(logits: np.ndarray, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """`log_softmax(logits)[tokens]`, of a row [n_vocab], in float64, without the others."""
    shifted = np.subtract(logits, logits.max(), dtype=np.float64)
    own = shifted[tokens]
    return np.asarray(own - np.log(np.exp(shifted, out=shifted).sum()))


def likeliest_ids(logits: np.ndarray, n: int) -> np.ndarray:
    """logits [n_vocab] -> ids of the n highest, the highest first; ties by id. Sorts only those."""
    n = min(n, logits.size)
    if not n:
        return np.zeros(0, np.int64)
    ids = _reached(logits, n)
    return np.asarray(ids[np.lexsort((ids, -logits[ids]))][:n])


def _reached(x: np.ndarray, n: int) -> np.ndarray:
    """Ids in ascending order, among them those of the n highest: all that reach the nth highest of
    the parts' maxima. One look at each number; partitions of a whole vocabulary take ten."""
    part = max(1, min(_PART, x.size // n))
    whole = x.size // part * part
    highest = x[:whole].reshape(part, -1).max(0)
    ids = np.flatnonzero(x >= np.partition(highest, -n)[-n])
    return ids if ids.size >= n else np.arange(x.size)  # some are not numbers


def _likeliest_set(x: np.ndarray, n: int) -> np.ndarray:
    """Ids of the n likeliest tokens still possible, in ascending order; ties by id."""
    ids = _reached(x, n)
    few = x[ids]
    return np.asarray(ids[_highest(few, float(np.partition(few, -n)[-n]), n, few)])


def _highest(x: np.ndarray, least: float, n: int, logits: np.ndarray) -> np.ndarray:
    """Ids of the n highest of x, of which `least` is the lowest, without impossible ones."""
    chosen = x > least
    if missing := n - np.count_nonzero(chosen):
        chosen[np.flatnonzero(x == least)[:missing]] = True
    return np.flatnonzero(chosen & np.isfinite(logits))


def nucleus(x: np.ndarray, p: float, at_first: int = 1024) -> np.ndarray:
    """logits [n_vocab] -> ids of the fewest likeliest tokens that together reach p, in ascending
    order. at_first: so many are tried before the whole vocabulary is sorted. Only numbers are
    sorted, never ids: numpy sorts those fifty times as fast."""
    probabilities = softmax(x)
    n = min(x.size, at_first)
    while True:
        some = probabilities if n == x.size else np.partition(probabilities, -n)[-n:]
        falling = np.sort(some)[::-1]
        count = 1 + _reaching(falling, p, "left")
        if n == x.size or count <= n:
            count = min(n, count)
            return _highest(probabilities, float(falling[count - 1]), count, x)
        n = x.size


def _reaching(weights: np.ndarray, target: float, side: Literal["left", "right"]) -> int:
    """np.searchsorted(np.cumsum(weights), target, side) up to rounding, by sums of blocks first:
    in one long cumulative sum each addition waits for the one before."""
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
