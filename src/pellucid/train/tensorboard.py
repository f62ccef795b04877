"""A run's numbers for TensorBoard: `tensorboard --logdir FOLDER` shows them in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from .log import StepReport

__all__ = ["Board"]


class Board:
    """Writes event files to a folder. done: steps taken before, so that a run that goes on from
    a checkpoint replaces what came after it.

    Raises InputError without the package `tensorboard`, or where the folder cannot be written.
    """

    def __init__(self, folder: str, done: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                'TensorBoard needs its package: pip install "pellucid[tensorboard]"'
            ) from error
        try:
            self._writer: Any = SummaryWriter(folder, purge_step=done + 1)
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}") from error

    def step(self, report: StepReport) -> None:
        numbers = {
            "loss/training": report.loss,
            "loss/held out": report.validation_loss,
            "gradient norm": report.norm,
            "learning rate": report.rate,
            "tokens per second": report.tokens / report.seconds if report.seconds else None,
            **report.measures,
        }
        for name, value in numbers.items():
            if value is not None:
                self._writer.add_scalar(name, value, report.step)

    def sample(self, step: int, text: str) -> None:
        self._writer.add_text("sample", text, step)

    def close(self) -> None:
        self._writer.close()
