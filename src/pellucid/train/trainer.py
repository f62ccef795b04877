"""The loop: rows -> loss -> gradients -> the optimiser's step, again and again.

A step is a function of the weights, the optimiser's moments, the seed and the step's number. So a
run that was stopped, in whatever way, goes on to the very same weights as one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checkpoint
from ..backend.torch import TorchBackend
from ..checkpoint import Checkpoint
from ..errors import InputError, TrainingError
from ..hparams import HParams
from ..weights import initialise, shapes
from . import adapter, lora, state
from .batches import IGNORE, Batches
from .config import TrainConfig
from .corpus import Corpus, open_corpus
from .distributed import gathered, join, share, wait_for_last
from .module import GPTModule
from .optimizer import Optimizers

__all__ = ["StepReport", "Trainer", "fast_in_bfloat16"]

Rows = tuple[np.ndarray, ...]  # inputs, targets, ...: one entry of each belongs to one row
Tensor = Any

_OUTLIER_WINDOW = 128  # steps, as in llm.c's outlier_detector.h
# Fields that may differ when a run goes on: they do not change what is computed.
_MAY_CHANGE = {
    "out", "corpus", "threads", "micro_batch", "eval_every", "eval_rows", "save_every", "keep",
    "sample_every", "sample_prompt", "tensorboard", "compile", "parallel",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step done. step counts from 1; loss in nats per learned token, before the step; norm
    of the whole gradient before clipping; outlier: how many deviations the loss lies from the
    last 128 (None for the first of them); validation_loss where it was measured. measures: what
    else the run's kind of loss tells, by name."""

    step: int
    loss: float
    norm: float
    rate: float
    tokens: int
    seconds: float
    outlier: float | None = None
    validation_loss: float | None = None
    saved: str | None = None
    measures: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Trains, or goes on with, the run in config.out. Iterating takes the steps that are left.

    Raises InputError for a configuration that does not fit the corpus, the starting checkpoint
    or the run that is there, TrainingError when the loss or the gradient is not finite (before
    the weights are touched), and CheckpointError when a checkpoint cannot be written.
    """

    made_by = "pellucid train"

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
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
        if self.processes.first:
            state.sweep(self.out)
        self.saved, self.damaged = state.newest(self.out)
        if self.saved is not None:
            self._check_same_run()
        self.corpus = self._open_corpus()
        self.tokenizer = self.corpus.tokenizer()
        self.hparams, tensors, template = self._weights()
        self.template = config.template or template
        self.module = GPTModule(self.hparams, tensors, self.backend)
        if config.lora_rank:
            targets = tuple(config.lora_targets.split(","))
            lora.add_lora(
                self.module, config.lora_rank, config.lora_alpha, targets, config.lora_dropout,
                config.seed,
            )  # fmt: skip
            if self.saved is not None:
                lora.restore(self.module, self.saved.kept)
        self._loss = share(
            self.module,
            torch.compile(self.module) if config.compile else self.module,
            config.parallel,
            self.processes,
        )
        self.optimizers = Optimizers(self.module.named_parameters(), config)
        self.batches, self.validation = self._rows()
        self.measures: dict[str, float] = {}  # of the newest step and validation
        self.step = 0
        self.best = math.inf
        self.seconds = 0.0  # of training, over all the times it was started
        self.losses: deque[float] = deque(maxlen=_OUTLIER_WINDOW)
        if self.saved is not None:
            self._go_on(self.saved)
        if self.processes.first:
            self._prepare_folder()
        self.bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and fast_in_bfloat16(config.device)
        )

    # One step

    def __iter__(self) -> Iterator[StepReport]:
        while self.step < self.config.steps:
            yield self.advance()

    def advance(self) -> StepReport:
        """One step; then validation and a checkpoint where they are due."""
        config, begin = self.config, time.perf_counter()
        self.module.train()
        self.backend.training = True
        first = self.step * config.batch
        rows = self.batches.take(first, config.batch)
        learned = self.count(rows)
        if not learned:
            raise TrainingError(f"step {self.step + 1}: nothing in its rows is to be learned")
        self.measures = {}
        loss = self._gradients(rows, learned)
        norm = self._clipped_norm()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"step {self.step + 1}: the loss ({loss}) or the gradient's norm ({norm}) is not "
                "finite; the weights were not changed. Lower learning_rate, or raise warmup, and "
                f"go on from {self.out}"
            )
        self.optimizers.step(config.rate(self.step))
        self.step += 1
        seconds = time.perf_counter() - begin
        self.seconds += seconds
        outlier = _deviations(loss, self.losses)
        self.losses.append(loss)
        last = self.step == config.steps
        validation_loss = None
        if config.eval_every and (self.step % config.eval_every == 0 or last):
            validation_loss = self.evaluate()
        report = StepReport(
            self.step, loss, norm, config.rate(self.step - 1), rows[0].size, seconds, outlier,
            validation_loss, measures=self.measures,
        )  # fmt: skip
        self._log(report)
        if validation_loss is not None and validation_loss < self.best:
            self.best = validation_loss
            self.save_model(self.out / "best")
        if last or (config.save_every and self.step % config.save_every == 0):
            self.save()
        if last:
            self.save_model(self.out / "model")
            if config.lora_rank:
                self._save_adapter()
        return report

    def count(self, rows: Rows) -> int:
        """How many things in these rows the loss is the mean of: tokens to be learned."""
        return int((rows[1] != IGNORE).sum())

    def loss(self, model: Any, rows: Rows) -> tuple[Tensor, dict[str, float]]:
        """-> the loss summed over the rows, and what else is measured, summed as well."""
        inputs, targets = map(self.backend.ids, rows)
        return model(inputs, targets), {}

    def _gradients(self, rows: Rows, learned: int) -> float:
        """Mean loss of the step, its gradients added up over micro-batches."""
        processes = self.processes
        mine = len(rows[0]) // processes.world
        size = self.config.micro_batch or mine
        total, sums = 0.0, Counter[str]()
        for begin in range(processes.rank * mine, (processes.rank + 1) * mine, size):
            # Dropout's draws, too, are a function of seed, step and place in the batch.
            torch.manual_seed(hash((self.config.seed, self.step, begin)) & 0x7FFFFFFF)
            part = tuple(x[begin : begin + size] for x in rows)
            last = begin + size == (processes.rank + 1) * mine
            with wait_for_last(self._loss, last):
                with self._autocast():
                    summed, measured = self.loss(self._loss, part)
                    loss = summed / learned
                # The processes' gradients are averaged, and their sum is meant.
                (loss * processes.world).backward()
            total += loss.item()
            sums.update(measured)
        self._measure("", sums, learned)
        return processes.sum(total, self.backend.device)

    def _measure(self, prefix: str, sums: Mapping[str, float], count: int) -> None:
        for name, value in sums.items():
            mean = self.processes.sum(value, self.backend.device) / count
            self.measures[prefix + name] = mean

    def _clipped_norm(self) -> float:
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
        return float(gathered(norm))

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = self.backend.device.type
        context: AbstractContextManager[Any] = torch.autocast(
            kind, dtype=torch.bfloat16, enabled=self.bfloat16
        )
        return context

    def evaluate(self) -> float | None:
        """Mean loss in nats per learned token on the held-out rows; None without any."""
        if self.validation is None:
            return None
        rows, learned = self.validation, self.count(self.validation)
        world, rank = self.processes.world, self.processes.rank
        size = self.config.micro_batch or max(1, self.config.batch // world)
        self.backend.training = False
        total, sums = 0.0, Counter[str]()
        with torch.no_grad(), self._autocast():
            for begin in range(0, len(rows[0]), size * world):
                # Rows in turn; where the last do not suffice for all, a process takes them again.
                at = begin + rank * size if begin + rank * size < len(rows[0]) else begin
                own = at == begin + rank * size
                loss, measured = self.loss(self.module, tuple(x[at : at + size] for x in rows))
                total += float(loss) if own else 0.0
                sums.update({name: value if own else 0.0 for name, value in measured.items()})
        self.backend.training = True
        self._measure("validation_", sums, learned)
        return self.processes.sum(total, self.backend.device) / learned

    # What is kept

    def checkpoint(self) -> Checkpoint:
        card = {
            "made_by": self.made_by,
            "step": self.step,
            "validation_loss": None if math.isinf(self.best) else self.best,
            "corpus": self.corpus.card,
            "config": self.config.to_dict(),
        }
        return Checkpoint(
            hparams=self.hparams,
            tensors=self.module.tensors(),
            tokenizer=self.tokenizer,
            card=card,
            template=self.template,
            path=self.out,
        )

    def save(self) -> Path:
        """A checkpoint of the whole run, from which it goes on exactly."""
        moments = {name: x.cpu().numpy() for name, x in self.optimizers.tensors().items()}
        progress = {
            "step": self.step,
            "best": None if math.isinf(self.best) else self.best,
            "seconds": self.seconds,
            "losses": list(self.losses),
        }
        model, kept = self.checkpoint(), self.kept()
        if self.config.lora_rank:  # merged weights do not give the base and the adapter back
            model = replace(model, tensors=lora.base(self.module))
        path = self.out
        if self.processes.first:
            path = state.save(self.out, model, moments, progress, kept)
            state.prune(self.out, self.config.keep)
        self.processes.wait()
        return path

    def kept(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds beside the model and the moments, by name."""
        return lora.matrices(self.module) if self.config.lora_rank else {}

    def _save_adapter(self) -> None:
        learned = lora.adapter(self.module)
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
        )

    def _log(self, report: StepReport) -> None:
        if not self.processes.first:
            return
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")

    # How it begins

    def _open_corpus(self) -> Any:
        """What is learned from: it has a `card` and a `tokenizer()`."""
        return open_corpus(self.config.corpus)

    def _rows(self) -> tuple[Any, Rows | None]:
        """-> what has `take(first, count)` for the rows of a step, and the held-out rows."""
        config, n_ctx = self.config, self.hparams.n_ctx
        rows = Batches(self.corpus.train, n_ctx, config.seed, aligned=config.aligned)
        return rows, _held_out(self.corpus, n_ctx, config)

    def _weights(self) -> tuple[HParams, dict[str, Any], str | None]:
        config = self.config
        n_vocab = self.tokenizer.n_vocab
        if self.saved is not None:
            model = self.saved.model
        elif config.start is not None:
            model = checkpoint.load(config.start)
        else:
            hparams = HParams(n_vocab, config.n_ctx, config.n_embd, config.n_head, config.n_layer)
            return hparams, initialise(hparams, config.seed), None
        if model.hparams.n_vocab != n_vocab:
            raise InputError(
                f"{config.corpus} was made with a vocabulary of {n_vocab}, the checkpoint has "
                f"{model.hparams.n_vocab}: pellucid data --tokenizer {config.start or config.out}"
            )
        tensors = {name: model.tensors[name] for name in shapes(model.hparams)}
        return model.hparams, tensors, model.template

    def _go_on(self, saved: state.Saved) -> None:
        progress = saved.progress
        self.optimizers.restore(
            {name: torch.from_numpy(x.copy()) for name, x in saved.optimizer.items()}
        )
        self.step = int(progress["step"])
        self.best = math.inf if progress["best"] is None else float(progress["best"])
        self.seconds = float(progress["seconds"])
        self.losses.extend(progress["losses"])

    def _check_same_run(self) -> None:
        path = self.out / "config.toml"
        if not path.is_file():
            return
        before = type(self.config).read(path)
        now = self.config.to_dict()
        changed = [
            name
            for name, value in before.to_dict().items()
            if name not in _MAY_CHANGE and now[name] != value
        ]
        if changed:
            raise InputError(
                f"{self.out} holds a run with another {', '.join(changed)}: give the same "
                "as before to go on, or another --out"
            )

    def _prepare_folder(self) -> None:
        path = self.out / "config.toml"
        self.out.mkdir(parents=True, exist_ok=True)
        path.write_text(self.config.to_toml(), encoding="utf-8")
        log = self.out / "log.jsonl"
        # Steps after the checkpoint will be taken again.
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        kept = [
            line for line in lines if line.endswith("}") and json.loads(line)["step"] <= self.step
        ]
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def fast_in_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32's."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    if device != "cpu":
        return False
    capabilities = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else ""
    return bool(torch.cpu._is_avx512_bf16_supported()) if "AVX512" in capabilities else False


def _held_out(
    corpus: Corpus, n_ctx: int, config: TrainConfig
) -> tuple[np.ndarray, np.ndarray] | None:
    if corpus.validation.n_tokens < n_ctx + 1:
        return None
    rows = Batches(corpus.validation, n_ctx, aligned=config.aligned)
    inputs, targets = rows.evenly(config.eval_rows)
    return (inputs, targets) if (targets != IGNORE).any() else None


def _deviations(loss: float, before: deque[float]) -> float | None:
    """How many standard deviations the loss lies above the mean of a full window."""
    if len(before) < _OUTLIER_WINDOW:
        return None
    deviation = float(np.std(before))
    return (loss - float(np.mean(before))) / deviation if deviation > 0 else 0.0
