"""What there is of a training: the losses it wrote down, and the weights at some of its steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint, embedded
from ..backend import get_backend
from ..checkpoint import Checkpoint
from ..errors import CheckpointError, InputError
from ..files import Reader
from ..gpt import GPT
from ..model import Model
from ..tokenizer import IdsOnly
from ..train import snapshots
from ..train.config import TrainConfig, read_config
from ..train.log import LOG, reports
from ..train.state import models
from .packed import FOLDER as PACKED
from .packed import Packed, unpack

__all__ = ["Course", "Curve", "kept", "open_course"]

TALK = "The power clapper went straight to"
_ANOTHER = (
    "This is {name}'s recipe on another machine, which rounds otherwise: it ends at the same loss "
    "as the model {name}, with other numbers."
)
_ABOVE = 3  # RUN/checkpoints/00000100/model is so far below RUN


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The loss over a training. unit: what it is called. losses: step -> the loss of the weights
    after so many steps, on what they then learned from. held_out: the same on what they did not.
    floor: the lowest that any model could reach, where that is known."""

    unit: str = "nats/token"
    losses: Mapping[int, float] = field(default_factory=dict)
    held_out: Mapping[int, float] = field(default_factory=dict)
    floor: float | None = None


@dataclass(frozen=True, kw_only=True)
class Course:
    """A training. name: of its run or model. steps: of the whole of it. done: whether it has
    ended. prompt: a text to look at. weights: step -> how to load that moment, the first step
    first; never empty. note: what a person should know of it, or ""."""

    name: str
    steps: int
    done: bool
    prompt: str
    curve: Curve
    weights: Mapping[int, Callable[[], Checkpoint]]
    note: str = ""

    @property
    def moments(self) -> tuple[int, ...]:
        return tuple(self.weights)

    def gpt(self, step: int) -> GPT:
        """The model as it was after so many steps. Raises InputError where that was not kept,
        CheckpointError where it cannot be read."""
        if step not in self.weights:
            known = ", ".join(map(str, self.moments))
            raise InputError(f"no weights of step {step} were kept; there are {known}")
        kept = self.weights[step]()
        # One thread: a run may be learning beside it, and the models are small.
        model = Model.of(kept.hparams, kept.tensors, get_backend("numpy", threads=1))
        tokenizer = kept.tokenizer or IdsOnly(kept.hparams.n_vocab, self.name)
        return GPT(
            model,
            tokenizer,
            card=kept.card,
            template=kept.template,
            name=self.name,
            roles=kept.roles,
        )


def open_course(source: str | os.PathLike[str]) -> Course:
    """The training of a model that comes with its moments ("talk"), or of a run, by its folder or
    that of a model in it; the run may still go on.

    A run's moments are its snapshots, checkpoints and finished model. Raises InputError where
    there are none, CheckpointError where a file was changed.
    """
    if isinstance(source, str) and source in embedded.names():
        if (embedded.FOLDER / source / PACKED).is_dir():
            return _embedded(source)
        raise InputError(
            f"the model {source} comes without the moments of its training; talk has them"
        )
    folder = Path(source)
    around = (folder, *folder.resolve().parents[:_ABOVE]) if str(source) and folder.exists() else ()
    for run in around:
        if (run / LOG).is_file() and (run / "config.toml").is_file():
            return _of_run(run)
    raise InputError(
        f"{source} is no training run, and no model in one: name the folder of a run of "
        "`pellucid train`, or talk"
    )


def _embedded(name: str) -> Course:
    model = checkpoint.load(name)
    packed = unpack(embedded.FOLDER / name / PACKED, model)

    def at(step: int) -> Callable[[], Checkpoint]:
        return lambda: packed.at(step, model)

    return Course(
        name=name,
        steps=packed.steps[-1],
        done=True,
        prompt=TALK,
        curve=Curve(losses=_losses_of(packed), floor=model.card.get("loss_floor")),
        weights={step: at(step) for step in packed.steps},
        note="" if packed.same else _ANOTHER.format(name=name),
    )


def _losses_of(packed: Packed) -> dict[int, float]:
    return {step: float(loss) for step, loss in enumerate(packed.losses)}


def _of_run(run: Path) -> Course:
    config = read_config(run / "config.toml")
    paths, done = kept(run, config)
    if not paths:
        raise InputError(
            f"{run} has kept no moment yet: the first snapshot or checkpoint comes with "
            "--snapshots 30, or after --save-every steps"
        )

    def load(path: Path) -> Callable[[], Checkpoint]:
        return lambda: checkpoint.load(path)

    return Course(
        name=run.resolve().name,
        steps=config.steps,
        done=done,
        prompt=TALK if config.task == "talk" else config.sample_prompt,
        curve=_curve(run, config),
        weights={step: load(paths[step]) for step in sorted(paths)},
    )


def kept(run: Path, config: TrainConfig) -> tuple[dict[int, Path], bool]:
    """The moments of a run, step -> model, and whether the run is done."""
    paths: dict[int, Path] = {}
    if not config.lora_rank:  # there a checkpoint holds the base's weights, without what is learned
        paths |= models(run)
    paths |= snapshots.kept(run)
    final = run / "model"
    if (ended := _steps_of(final)) is not None:
        paths[ended] = final
    return paths, ended == config.steps


def _steps_of(model: Path) -> int | None:
    """After how many steps a finished model was written; None where there is none."""
    about = model / "config.json"
    if not about.is_file():
        return None
    card: Any = Reader(error=CheckpointError).read_object(about).get("card")
    steps = card.get("steps", card.get("step")) if isinstance(card, dict) else None
    return steps if isinstance(steps, int) else None


def _curve(run: Path, config: TrainConfig) -> Curve:
    taken = reports(run)
    return Curve(
        unit=config.labels.loss,
        # What a step reports was measured before it changed the weights.
        losses={report.step - 1: report.loss for report in taken if np.isfinite(report.loss)},
        held_out={
            report.step: report.validation_loss
            for report in taken
            if report.validation_loss is not None
        },
    )
