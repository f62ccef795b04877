"""Language modelling: the next token of a corpus. Pretraining, and finetuning from a checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..checkpoint.capacity import needed
from ..checkpoint.contents import check_memory
from ..data.corpus import Corpus, open_corpus
from ..errors import InputError
from ..tokenizer import Tokenizer
from ..weights import initialise, shapes
from .batches import IGNORE, Batches
from .config import TrainConfig
from .state import Saved
from .task import Progress, Rows, Task

__all__ = ["Language"]

Tensor = Any

_CORPUS = "corpus"  # the name of what a checkpoint keeps


class Language(Task):
    """config.corpus is a folder that `pellucid data` wrote. Rows: `TrainConfig.row_of`."""

    made_by = "pellucid train"

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.held_out: Rows | None = None
        self.notes: list[str] = []

    def begin(self, saved: Saved | None) -> Checkpoint:
        config = self.config
        self.corpus: Corpus = open_corpus(config.corpus)
        self._identity = _as_array(self.corpus.fingerprint())
        tokenizer = self.corpus.tokenizer()
        model = self._model(tokenizer.n_vocab, saved)
        self._check_same(model, tokenizer, saved)
        self.n_row = config.row_of(model.hparams.n_ctx)
        self.batches = Batches(self.corpus.train, self.n_row, config.seed, aligned=config.aligned)
        if n := self.batches.n_left_out:
            self.notes.append(
                f"{n:,} of {n + self.batches.n_rows:,} rows hold nothing that is to be learned, "
                "and are left out"
            )
        if config.eval_every:
            self._hold_out()
        return Checkpoint(
            hparams=model.hparams,
            tensors={name: model.tensors[name] for name in shapes(model.hparams)},
            tokenizer=tokenizer,
            template=config.template or model.template,
            roles=model.roles.kept(config.template in (None, model.template)),
        )

    def take(self, first: int, count: int) -> Rows:
        return self.batches.take(first, count)

    def count(self, rows: Rows) -> int:
        """Tokens to be learned."""
        return int((rows[1] != IGNORE).sum())

    def loss(self, model: Any, rows: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        inputs, targets = rows
        return model(inputs, targets), {}

    def kept(self) -> dict[str, np.ndarray]:
        return {_CORPUS: self._identity}

    def source(self) -> Mapping[str, Any]:
        return self.corpus.card

    def card(self, progress: Progress) -> dict[str, Any]:
        rows = {"n": self.batches.n_rows, "left_out": self.batches.n_left_out}
        return {**super().card(progress), "rows": rows}

    def facts(self) -> list[tuple[str, str]]:
        return [("tokens", f"{self.config.steps * self.config.batch * self.n_row:,}")]

    def commands(self, model: Path) -> tuple[str, ...]:
        chat, measure = super().commands(model)
        prompt = self.config.sample_prompt
        learned = f"pellucid learned {self.config.out} --html learned.html"
        return (
            chat,
            f"pellucid generate {shlex.quote(prompt)} --model {model}",
            measure,
            *([learned] if self.config.snapshots else []),
        )

    def _check_same(self, model: Checkpoint, tokenizer: Tokenizer, saved: Saved | None) -> None:
        """The corpus must be the one that the run began with, in the model's own ids."""
        config = self.config
        before = None if saved is None else saved.kept.get(_CORPUS)
        if before is not None and not np.array_equal(before, self._identity):
            raise InputError(
                f"{config.corpus} is not the corpus that the run in {config.out} began with, or "
                f"was made anew: pellucid train {config.corpus} --out ANOTHER"
            )
        own = model.tokenizer
        same = own is None or own.fingerprint() == tokenizer.fingerprint()
        if same and model.hparams.n_vocab == tokenizer.n_vocab:
            return
        whose = config.start if saved is None else saved.path / "model"
        raise InputError(
            f"{config.corpus} was made with another tokenizer, and a vocabulary of "
            f"{tokenizer.n_vocab}, than {whose} has, with {model.hparams.n_vocab}: its ids mean "
            f"other texts there. Make it with that one: pellucid data TEXTS {config.corpus} "
            f"--tokenizer {whose}"
        )

    def _hold_out(self) -> None:
        """Rows of the held-out text, or a note why there is no held-out loss."""
        split, config = self.corpus.validation, self.config
        if split.n_tokens < self.n_row + 1:
            told = f"has {split.n_tokens:,} tokens, and a row needs {self.n_row + 1:,}"
            if not split.n_tokens:
                told = "is empty"
            self.notes.append(
                f"no held-out loss: the held-out text {told} (more is held out by "
                "pellucid data --validation)"
            )
            return
        try:
            rows = Batches(split, self.n_row, aligned=config.aligned)
        except InputError:  # it has no reply of the assistant
            self.notes.append("no held-out loss: nothing in the held-out text is to be learned")
            return
        self.held_out = rows.evenly(config.eval_rows)

    def _model(self, n_vocab: int, saved: Saved | None) -> Checkpoint:
        config = self.config
        if saved is not None:
            return saved.model
        if config.start is not None:
            return checkpoint.load(config.start)
        hparams = config.shape(n_vocab)
        if config.device == "cpu":
            check_memory(int(needed(hparams, "training")), Path(config.out))
        return Checkpoint(hparams=hparams, tensors=initialise(hparams, config.seed))


def _as_array(digest: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(digest), np.uint8)
