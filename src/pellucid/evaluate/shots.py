"""Examples shown before the question: zero-, one- and few-shot (arXiv 2005.14165, §2.4).

Nothing is learned from them but what one forward pass makes of them. They are drawn as
EleutherAI's lm_eval draws them, so that the same seed shows the same examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ..errors import InputError

__all__ = ["Shots", "before"]

_BETWEEN = "\n\n"  # after each example


@dataclass(frozen=True, kw_only=True)
class Shots:
    """n: examples before each question, drawn anew for each. pool: what they are drawn from, of
    the task's own kind: the training part. apart: whether the pool holds none of the questions;
    where not, a question is never among its own examples. seed: of the drawing.

    Raises InputError where the pool has too few.
    """

    n: int
    pool: Sequence[Any]
    apart: bool = True
    seed: int = 1234  # lm_eval's

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise InputError(f"shots must be at least 1, not {self.n!r}")
        needed = self.n if self.apart else self.n + 1
        if len(self.pool) < needed:
            beside = "" if self.apart else " beside the one that is asked"
            raise InputError(
                f"{self.n} examples cannot be drawn from {len(self.pool)}{beside}: give fewer "
                "--shots, or more to draw from with --shots-from"
            )

    def drawing(self) -> Callable[[Any], list[Any]]:
        """What draws the examples of each question in turn, given that question."""
        random = Random(self.seed)

        def draw(question: Any) -> list[Any]:
            if self.apart:
                return random.sample(self.pool, self.n)
            # One more than needed: the question may be among them.
            shown = [each for each in random.sample(self.pool, self.n + 1) if each != question]
            if len(shown) < self.n:  # it stands there several times
                shown = random.sample(self._others(question), self.n)
            return shown[: self.n]

        return draw

    def _others(self, question: Any) -> list[Any]:
        others = [each for each in self.pool if each != question]
        if len(others) < self.n:
            raise InputError(
                f"{self.n} examples cannot be drawn: only {len(others)} differ from the question"
            )
        return others

    def words(self) -> str:
        """The same for a protocol."""
        beside = "" if self.apart else ", never its own"
        many = "1 example" if self.n == 1 else f"{self.n} examples"
        return (
            f"{self.n}-shot: after {many} with the answer, drawn for each{beside}, seed {self.seed}"
        )


def before(shots: Shots | None, written: Callable[[Any], str]) -> Callable[[Any], str]:
    """What makes the text that stands before a question: nothing, or its examples.

    written: an example -> its text with the answer.
    """
    if shots is None:
        return lambda question: ""
    draw = shots.drawing()

    def shown(question: Any) -> str:
        examples = draw(question)
        try:
            return "".join(written(example) + _BETWEEN for example in examples)
        except InputError as error:
            raise InputError(f"an example to be shown: {error}") from error

    return shown
