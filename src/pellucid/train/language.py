"""Language modelling: the next token of a corpus. Pretraining, and finetuning from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..data.corpus import Corpus, open_corpus
from ..errors import InputError
from ..hparams import HParams
from ..weights import initialise, shapes
from .batches import IGNORE, Batches
from .config import TrainConfig
from .state import Saved
from .task import Rows, Task

__all__ = ["Language"]

Tensor = Any


class Language(Task):
    """config.corpus is a folder that `pellucid data` wrote, a row n_ctx tokens of it."""

    made_by = "pellucid train"

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.held_out: Rows | None = None

    def begin(self, saved: Saved | None) -> Checkpoint:
        config = self.config
        self.corpus: Corpus = open_corpus(config.corpus)
        tokenizer = self.corpus.tokenizer()
        model = self._model(tokenizer.n_vocab, saved)
        if model.hparams.n_vocab != tokenizer.n_vocab:
            raise InputError(
                f"{config.corpus} was made with a vocabulary of {tokenizer.n_vocab}, the "
                f"checkpoint has {model.hparams.n_vocab}: pellucid data --tokenizer "
                f"{config.start or config.out}"
            )
        self.n_ctx = model.hparams.n_ctx
        self.batches = Batches(self.corpus.train, self.n_ctx, config.seed, aligned=config.aligned)
        self.held_out = _held_out(self.corpus, self.n_ctx, config)
        return Checkpoint(
            hparams=model.hparams,
            tensors={name: model.tensors[name] for name in shapes(model.hparams)},
            tokenizer=tokenizer,
            template=config.template or model.template,
        )

    def take(self, first: int, count: int) -> Rows:
        return self.batches.take(first, count)

    def count(self, rows: Rows) -> int:
        """Tokens to be learned."""
        return int((rows[1] != IGNORE).sum())

    def loss(self, model: Any, rows: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        inputs, targets = rows
        return model(inputs, targets), {}

    def source(self) -> Mapping[str, Any]:
        return self.corpus.card

    def facts(self) -> list[tuple[str, str]]:
        return [("tokens", f"{self.config.steps * self.config.batch * self.n_ctx:,}")]

    def commands(self, model: Path) -> tuple[str, ...]:
        chat, measure = super().commands(model)
        prompt = self.config.sample_prompt
        return (chat, f'pellucid generate "{prompt}" --model {model}', measure)

    def _model(self, n_vocab: int, saved: Saved | None) -> Checkpoint:
        config = self.config
        if saved is not None:
            return saved.model
        if config.start is not None:
            return checkpoint.load(config.start)
        hparams = HParams(
            n_vocab=n_vocab,
            n_ctx=config.n_ctx,
            n_embd=config.n_embd,
            n_head=config.n_head,
            n_layer=config.n_layer,
        )
        return Checkpoint(hparams=hparams, tensors=initialise(hparams, config.seed))


def _held_out(
    corpus: Corpus, n_ctx: int, config: TrainConfig
) -> tuple[np.ndarray, np.ndarray] | None:
    if corpus.validation.n_tokens < n_ctx + 1:
        return None
    rows = Batches(corpus.validation, n_ctx, aligned=config.aligned)
    inputs, targets = rows.evenly(config.eval_rows)
    return (inputs, targets) if (targets != IGNORE).any() else None
