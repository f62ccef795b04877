"""What a run learns from, and by which loss: everything in which runs differ.

The loop (`trainer`) knows steps, gradients, checkpoints and signals; a task knows rows and losses.
`language`, `preference`, `talk` and `translation` are the four there are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import PellucidError
from .config import TrainConfig
from .state import Saved

if TYPE_CHECKING:
    from ..backend.torch import TorchBackend
    from .module import Tree

__all__ = ["Measure", "Progress", "Rows", "Task"]

Tensor = Any
Rows = tuple[np.ndarray, ...]  # inputs, targets, ...: one entry of each belongs to one row
# A function of the model and rows as tensors, computed without gradients
Measure = Callable[[Callable[..., Tensor], Rows], Tensor]

OUTLIER_WINDOW = 128  # steps, as in llm.c's outlier_detector.h


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is. best: the lowest held-out loss. seconds: of training, over all the times
    it was started. losses: of the newest steps."""

    step: int = 0
    best: float = math.inf
    seconds: float = 0.0
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=OUTLIER_WINDOW))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        return cls(
            step=int(values["step"]),
            best=math.inf if values["best"] is None else float(values["best"]),
            seconds=float(values["seconds"]),
            losses=deque(values["losses"], maxlen=OUTLIER_WINDOW),
        )

    def add(self, loss: float) -> float | None:
        """A step's loss -> how many standard deviations it lies above the mean of those before it;
        None until they fill the window."""
        before, result = self.losses, None
        if len(before) == OUTLIER_WINDOW:
            deviation = float(np.std(before))
            result = (loss - float(np.mean(before))) / deviation if deviation > 0 else 0.0
        before.append(loss)
        return result

    def to_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "best": None if math.isinf(self.best) else self.best,
            "seconds": self.seconds,
            "losses": list(self.losses),
        }


class Task(Protocol):
    """One kind of run. The trainer calls `begin`, then `ready`, then the rest in each step.

    config: whose `labels` say what the loss is called. made_by: the command, for cards.
    held_out: rows on which the loss is measured now and then, or None. notes: what a person
    should know of what is learned from, a sentence each.
    """

    config: TrainConfig
    made_by: str
    held_out: Rows | None
    notes: list[str]

    def begin(self, saved: Saved | None) -> Checkpoint:
        """Open what is learned from -> the model to train, with tokenizer and template.

        saved: where the run stopped, if it is gone on with. Raises InputError for a
        configuration that does not fit what is learned from, or the starting checkpoint.
        """
        ...

    def module(self, model: Checkpoint, backend: TorchBackend) -> Tree:
        """What is trained: the model's parameters, as torch sees them."""
        from .module import GPTModule

        return GPTModule(model.hparams, model.tensors, backend)

    def ready(self, saved: Saved | None, measure: Measure) -> None:
        """The model is on its device; no step is taken yet."""
        return None

    def take(self, first: int, count: int) -> Rows:
        """Rows number first…first + count - 1 of an endless sequence: a function of these and
        the configuration alone, so that a run goes on bitwise."""
        ...

    def count(self, rows: Rows) -> int:
        """How many things in these rows the loss is the mean of."""
        ...

    def loss(self, model: Any, rows: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        """-> the loss summed over the rows, and what else is measured, summed as well. model:
        called with tokens, and targets where only their loss is wanted (`GPTModule`)."""
        ...

    def kept(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds of the task, by name; `saved.kept` gives it back."""
        return {}

    def source(self) -> Mapping[str, Any]:
        """What is learned from, for cards."""
        ...

    def card(self, progress: Progress) -> dict[str, Any]:
        """What is known about the model at this step."""
        return {
            "made_by": self.made_by,
            "step": progress.step,
            "validation_loss": None if math.isinf(progress.best) else progress.best,
            "corpus": self.source(),
            "config": self.config.to_dict(),
        }

    def sample(self, model: Checkpoint, step: int) -> str:
        """What the model makes of the configuration's prompt, by the same code that chats."""
        from ..backend import get_backend
        from ..gpt import GPT
        from ..model import Model

        assert model.tokenizer is not None
        prompt, machine = self.config.sample_prompt, get_backend("numpy", threads=1)
        gpt = GPT(Model.of(model.hparams, model.tensors, machine), model.tokenizer)
        settings = self.sampling(step)
        try:
            return prompt + gpt.generate(prompt, max_tokens=40, alternatives=0, **settings).text
        except PellucidError as error:  # a prompt that does not fit must not end a run
            return f"(no sample: {error})"

    def sampling(self, step: int) -> dict[str, Any]:
        """How a sample's tokens are chosen."""
        return {"temperature": 0.8, "top_k": 40, "seed": step}

    def facts(self) -> list[tuple[str, str]]:
        """What a person is told of it at the end, beside the loss: names and values."""
        return []

    def commands(self, model: Path) -> tuple[str, ...]:
        """What can be done with the finished model."""
        return (f"pellucid chat --model {model}", f"pellucid eval FILE --model {model}")
