"""The loop: rows -> loss -> gradients -> the optimiser's step, again and again.

A step is a function of the weights, the optimiser's moments, the seed and the step's number. So a
run that was stopped, in whatever way, goes on to the very same weights as one that was not. What
is learned, and by which loss, is the task's.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checkpoint
from ..backend.torch import TorchBackend
from ..checkpoint import Checkpoint
from ..errors import InputError, PellucidError, TrainingError
from ..files import write_file
from ..tokenizer import Tokenizer
from ..weights import fingerprint
from . import adapter, log, lora, snapshots, state
from .average import Average
from .distributed import gathered, join, wait_for_last
from .log import StepReport
from .optimizer import Optimizers
from .state import Saved
from .task import Progress, Rows, Task
from .wrap import wrapped

__all__ = ["Trainer", "draws", "fast_in_bfloat16"]

Tensor = Any

_BASE = "base"  # the name of what a checkpoint keeps

# Fields that may differ when a run goes on: they do not change what is computed.
_MAY_CHANGE = {
    "out", "corpus", "threads", "micro_batch", "eval_every", "eval_rows", "save_every", "keep",
    "snapshots", "sample_every", "sample_prompt", "tensorboard", "compile", "parallel",
}  # fmt: skip


class Trainer:
    """Trains, or goes on with, the run in the task's config.out. Iterating takes the steps that
    are left.

    Raises InputError for a configuration that does not fit what is learned from, the starting
    checkpoint or the run that is there, TrainingError when the loss or the gradient is not
    finite (before the weights are touched), and CheckpointError when a checkpoint cannot be
    written.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.config = config = task.config
        self.out = Path(config.out)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.processes, device = join(config.device)
        if config.batch % (self.processes.world * (config.micro_batch or 1)):
            raise InputError(
                f"batch ({config.batch}) must be a multiple of {self.processes.world} processes "
                f"times micro_batch ({config.micro_batch or 1})"
            )
        self.backend = TorchBackend(device, dropout=config.dropout, training=True)
        self.bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and fast_in_bfloat16(config.device)
        )
        if self.processes.first:
            state.sweep(self.out)
        saved, self.damaged = state.newest(self.out)
        self.notes: list[str] = []
        if saved is not None:
            self._check_same_run(int(saved.progress["step"]))
        model = task.begin(saved)
        self.base = _base(config.start, model, saved, self.notes)
        self.notes += task.notes
        self.hparams, self.tokenizer, self.template = model.hparams, model.tokenizer, model.template
        self.roles = model.roles
        self.module = task.module(model, self.backend)
        self.called = wrapped(self.module, config, self.processes, saved.kept if saved else {})
        self.parameters = list(self.module.parameters())
        self.optimizers = Optimizers(self.module.named_parameters(), config)
        self.average = Average(self.parameters, config.steps, config.average)
        self.measures: dict[str, float] = {}  # of the newest step and validation
        # A step's rows, and on the device, taken before its time
        self._ahead: tuple[int, Rows, tuple[Tensor, ...]] | None = None
        self.progress = Progress()
        if saved is not None:
            self.progress = Progress.from_dict(saved.progress)
            self.average.restore(saved.kept)
            self.optimizers.restore(
                {name: torch.from_numpy(x.copy()) for name, x in saved.optimizer.items()}
            )
        task.ready(saved, self.measure)
        if self.processes.first:
            self.out.mkdir(parents=True, exist_ok=True)
            write_file(self.out / "config.toml", config.to_toml().encode())
            log.rewind(self.out, self.step)
            snapshots.rewind(self.out, self.step)
        self.moments = frozenset(snapshots.moments(config.steps, config.snapshots))

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    # One step

    def __iter__(self) -> Iterator[StepReport]:
        while self.step < self.config.steps:
            yield self.advance()

    def advance(self) -> StepReport:
        """One step; then validation and a checkpoint where they are due."""
        if self.step == 0:
            self._remember()
        config, progress, begin = self.config, self.progress, time.perf_counter()
        rows, there = self._rows()
        learned = self.task.count(rows)
        self.measures = {}
        total, norm = self.gradients(there, learned), self.clipped_norm()
        if self.backend.device.type != "cpu":  # which computes meanwhile
            self._ahead = (self.step + 1, *self._take(self.step + 1))
        loss, norm = self._on_host(total, norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"step {self.step + 1}: the loss ({loss}) or the gradient's norm ({norm}) is not "
                "finite; the weights were not changed. Lower learning_rate, or raise warmup, and "
                f"go on from {self.out}"
            )
        rate = config.rate(self.step)
        self.optimizers.step(rate)
        progress.step += 1
        self.average.take(self.step)
        seconds = time.perf_counter() - begin
        progress.seconds += seconds
        outlier = progress.add(loss)
        last = self.step == config.steps
        validation_loss = None
        if config.eval_every and (self.step % config.eval_every == 0 or last):
            with self._as_kept(last):
                validation_loss = self.evaluate()
        report = StepReport(
            step=self.step,
            loss=loss,
            norm=norm,
            rate=rate,
            tokens=rows[0].size,
            seconds=seconds,
            outlier=outlier,
            validation_loss=validation_loss,
            measures=self.measures,
        )
        if self.processes.first:
            log.append(self.out, report)
        if validation_loss is not None and validation_loss < progress.best:
            progress.best = validation_loss
            with self._as_kept(last):
                self.save_model(self.out / "best")
        if last or (config.save_every and self.step % config.save_every == 0):
            self.save()
        self._remember()
        if last:
            self.save_finished()
        return report

    def _take(self, step: int) -> tuple[Rows, tuple[Tensor, ...]]:
        rows = self.task.take(step * self.config.batch, self.config.batch)
        return rows, self.tensors(rows)

    def _rows(self) -> tuple[Rows, tuple[Tensor, ...]]:
        """What is learned from in this step."""
        ahead, self._ahead = self._ahead, None
        return ahead[1:] if ahead is not None and ahead[0] == self.step else self._take(self.step)

    def _on_host(self, total: Tensor, norm: Tensor) -> tuple[float, float]:
        """The step's loss and norm: the one place of a step that waits for the device."""
        loss, found = torch.stack([total, norm.to(total)]).tolist()
        return self.processes.sum(loss, self.backend.device), found

    def _as_kept(self, last: bool) -> AbstractContextManager[None]:
        """The last step's weights are those that the run ends with."""
        return self.average.in_place() if last else nullcontext()

    def gradients(self, rows: tuple[Tensor, ...], learned: int) -> Tensor:
        """Mean loss of a step on these rows (see `tensors`), of which `learned` tokens count (this
        process's part of it); its gradients are added to the parameters', micro-batch by
        micro-batch."""
        config, processes = self.config, self.processes
        mine = len(rows[0]) // processes.world
        size = config.micro_batch or mine
        losses, sums = [], Counter[str]()
        for begin in range(processes.rank * mine, (processes.rank + 1) * mine, size):
            if config.dropout or config.lora_dropout:
                torch.manual_seed(draws(config.seed, self.step, begin))
            part = tuple(x[begin : begin + size] for x in rows)
            last = begin + size == (processes.rank + 1) * mine
            with wait_for_last(self.called, last):
                with self._autocast():
                    summed, measured = self.task.loss(self.called, part)
                    loss = summed / learned
                # The processes' gradients are averaged, and their sum is meant.
                (loss * processes.world).backward()
            losses.append(loss.detach())
            sums.update(measured)
        self._keep_measures("", sums, learned)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _keep_measures(self, prefix: str, sums: Mapping[str, float], count: int) -> None:
        for name, value in sums.items():
            mean = self.processes.sum(value, self.backend.device) / count
            self.measures[prefix + name] = mean

    def clipped_norm(self) -> Tensor:
        """The norm of all gradients together, which `clip` then bounds."""
        parameters = [p for p in self.parameters if p.grad is not None]
        return gathered(torch.nn.utils.clip_grad_norm_(parameters, self.config.clip))

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = self.backend.device.type
        context: AbstractContextManager[Any] = torch.autocast(
            kind, dtype=torch.bfloat16, enabled=self.bfloat16
        )
        return context

    def tensors(self, rows: Rows) -> tuple[Tensor, ...]:
        """The rows on the device: ids as int64, other numbers as they are."""
        device = self.backend.device
        return tuple(
            self.backend.ids(x)
            if np.issubdtype(x.dtype, np.integer)
            else torch.as_tensor(x, dtype=torch.float32 if device.type == "mps" else None).to(
                device
            )
            for x in rows
        )

    def measure(self, function: Callable[..., Tensor], rows: Rows) -> Tensor:
        """function(model, *rows) without gradients and dropout."""
        self.backend.training = False
        try:
            with torch.no_grad(), self._autocast():
                return function(self.module, *self.tensors(rows))
        finally:
            self.backend.training = True

    def evaluate(self) -> float | None:
        """Mean loss on the held-out rows; None without any."""
        rows = self.task.held_out
        if rows is None:
            return None
        learned = self.task.count(rows)
        world, rank = self.processes.world, self.processes.rank
        size = self.config.micro_batch or max(1, self.config.batch // world)
        total, sums = 0.0, Counter[str]()
        for begin in range(0, len(rows[0]), size * world):
            # Rows in turn; where the last do not suffice for all, a process takes them again.
            at = begin + rank * size if begin + rank * size < len(rows[0]) else begin
            own = at == begin + rank * size
            part = tuple(x[at : at + size] for x in rows)
            loss, measured = self.measure(lambda model, *part: self.task.loss(model, part), part)
            total += float(loss) if own else 0.0
            sums.update({name: value if own else 0.0 for name, value in measured.items()})
        self._keep_measures("validation_", sums, learned)
        return self.processes.sum(total, self.backend.device) / learned

    # What is kept

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            hparams=self.hparams,
            tensors=self.module.tensors(),
            tokenizer=self.tokenizer,
            card=self.task.card(self.progress),
            template=self.template,
            path=self.out,
            roles=self.roles,
        )

    def save(self) -> Path:
        """A checkpoint of the whole run, from which it goes on exactly."""
        moments = {name: x.cpu().numpy() for name, x in self.optimizers.tensors().items()}
        model, kept = self.checkpoint(), {**self.task.kept(), **self.base, **self.average.kept()}
        if self.config.lora_rank:  # merged weights do not give the base and the adapter back
            model = replace(model, tensors=lora.base(self.module))
            kept = {**kept, **lora.matrices(self.module)}
        path = self.out
        if self.processes.first:
            path = state.save(self.out, model, moments, self.progress.to_dict(), kept)
            state.prune(self.out, self.config.keep)
        self.processes.wait()
        return path

    def _remember(self) -> None:
        """A snapshot, where this moment is one of those to be kept."""
        if self.step in self.moments:
            self.save_model(snapshots.place(self.out, self.step))

    def save_finished(self) -> None:
        """What the run is for: the model, and the adapter where one was trained."""
        with self.average.in_place():
            self.save_model(self.out / "model")
            if self.config.lora_rank:
                self._save_adapter()

    def _save_adapter(self) -> None:
        learned = replace(lora.adapter(self.module), tokenizer=_fingerprint(self.tokenizer))
        if self.processes.first:
            adapter.save(self.out / "adapter", learned)

    def save_model(self, folder: Path) -> None:
        model = self.checkpoint()
        if not self.processes.first:
            return
        checkpoint.save(
            folder,
            model.hparams,
            model.tensors,
            model.tokenizer,
            card=model.card,
            template=model.template,
            roles=model.roles,
        )

    def _check_same_run(self, done: int) -> None:
        path = self.out / "config.toml"
        if not path.is_file():
            return
        before = type(self.config).read(path).to_dict()
        now = self.config.to_dict()
        changed = [
            name for name, value in before.items() if name not in _MAY_CHANGE and now[name] != value
        ]
        if "steps" in changed and self.config.steps > done:
            changed.remove("steps")
            self.notes.append(
                f"the run had {before['steps']:,} steps and now has {now['steps']:,}: from here "
                "on its rates are those of a run of so many"
            )
        if changed:
            raise InputError(
                f"{self.out} holds a run with another {', '.join(changed)}: to go on with that, "
                f"pellucid train --resume {self.out} takes all of it as it was; for a new one give "
                "another --out"
            )


def _base(
    start: str | None, model: Checkpoint, saved: Saved | None, notes: list[str]
) -> dict[str, np.ndarray]:
    """What a checkpoint keeps of the model that the run started from, by name. Notes where that
    has changed since: the run goes on from its own copy."""
    if start is None:
        return {}
    if saved is None:
        digest = bytes.fromhex(fingerprint(model.tensors))
        return {_BASE: np.frombuffer(digest, np.uint8)}
    if (before := saved.kept.get(_BASE)) is None:
        return {}
    try:
        now = checkpoint.load(start).tensors if Path(start).exists() else None
    except PellucidError:  # it is not needed any more
        now = None
    if now is not None and bytes.fromhex(fingerprint(now)) != before.tobytes():
        notes.append(
            f"{start} has other weights than when the run began, which goes on with those of its "
            "own checkpoints; to begin with the new ones, choose another --out"
        )
    return {_BASE: before}


def _fingerprint(tokenizer: Tokenizer | None) -> str | None:
    return None if tokenizer is None else tokenizer.fingerprint()


def draws(seed: int, step: int, row: int) -> int:
    """The seed of what dropout draws for the micro-batch that begins at that row of that step:
    64 bits of NumPy's SeedSequence of the three, the same on every machine and version."""
    mixed = np.random.SeedSequence((seed, step, row))
    return int(mixed.generate_state(1, np.uint64)[0])


def fast_in_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32's."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    if device != "cpu":
        return False
    capabilities = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else ""
    return bool(torch.cpu._is_avx512_bf16_supported()) if "AVX512" in capabilities else False
