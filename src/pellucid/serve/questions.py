"""What can be asked over HTTP: each a function of `pellucid.inspect`, by its verb's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import inspect
from ..errors import InputError

if TYPE_CHECKING:
    from ..gpt import GPT
    from ..inspect import Finding
    from ..inspect.edits import Progress

__all__ = ["QUESTIONS", "Question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """function: called with the model, a text's ids where `texts` says so (of two texts, source and
    base), and the arguments by name. counts: whether it takes `progress`. budget: whether it takes
    `budget_bytes`."""

    function: Callable[..., Finding]
    texts: int = 1
    counts: bool = False
    budget: bool = False

    def ask(
        self,
        gpt: GPT,
        texts: tuple[tuple[int, ...], ...],
        arguments: dict[str, Any],
        *,
        progress: Progress,
        budget_bytes: int,
    ) -> Finding:
        known = dict(arguments)
        for name, value in known.items():
            if isinstance(value, range) and not value:
                raise InputError(f"{name}: the range from {value.start} to {value.stop} is empty")
        if self.counts:
            known["progress"] = progress
        if self.budget:
            known["budget_bytes"] = budget_bytes
        return self.function(gpt, *texts, **known)


QUESTIONS = {
    "ablate": Question(function=inspect.ablate),
    "attention": Question(function=inspect.attention, budget=True),
    "attribute": Question(function=inspect.attribute),
    "compare": Question(function=inspect.compare, budget=True),
    "heads": Question(function=inspect.head_labels, texts=0),
    "lens": Question(function=inspect.logit_lens),
    "neighbours": Question(function=inspect.neighbours, texts=0),
    "norms": Question(function=inspect.residual_norms),
    "pass": Question(function=inspect.walk_pass),
    "patch": Question(function=inspect.patch_each, texts=2, counts=True),
    "prediction": Question(function=inspect.prediction),
    "steer": Question(function=inspect.steered),
    "sweep": Question(function=inspect.ablate_each, counts=True),
    "trace": Question(function=inspect.trace, budget=True),
    "view": Question(function=inspect.view, budget=True),
    "walk": Question(function=inspect.walk),
    "why": Question(function=inspect.why, counts=True),
}
