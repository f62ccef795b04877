"""What a run would be, and what it was: names and values for a person to read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .. import checkpoint
from ..checkpoint.contents import available_memory
from ..data.corpus import Corpus
from ..data.prepare import N_VOCAB
from ..errors import InputError
from ..hparams import HParams
from .batches import LOGITS
from .config import TrainConfig
from .plot import draw_losses
from .view import duration

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["outlook", "results"]

_SHOWN = 32  # the newest steps, whose mean loss is told


def outlook(
    config: TrainConfig, corpus: Corpus | None, n_vocab: int | None
) -> list[tuple[str, str]]:
    """What the configuration amounts to. n_vocab: what is asked for, where
    there is no corpus yet."""
    n_vocab = int(corpus.card["n_vocab"]) if corpus is not None else n_vocab or N_VOCAB
    if config.start is not None:
        hparams = checkpoint.load(config.start).hparams
    else:
        hparams = config.shape(n_vocab)
    tokens = config.batch * config.row_of(hparams.n_ctx)
    epochs = "known once the texts are tokenised"
    if corpus is not None:
        epochs = f"{config.steps * tokens / corpus.train.n_tokens:.2f}"
    memory = _memory(hparams, config)
    free = available_memory() if config.device == "cpu" else None
    much = f": more than the {free / 2**30:.1f} GiB that are free" if free and memory > free else ""
    return [
        ("parameters", f"{hparams.n_params:,}, with a vocabulary of {hparams.n_vocab:,}"),
        ("tokens per step", f"{tokens:,}"),
        ("tokens in all", f"{config.steps * tokens:,}"),
        ("epochs", epochs),
        ("memory", f"about {memory / 2**30:,.1f} GiB, and PyTorch itself{much}"),
    ]


def _memory(hparams: HParams, config: TrainConfig) -> float:
    """Bytes that training takes, roughly: weights, gradients and two moments in float32; what
    each layer keeps for its gradient (17 values of n_embd a token: arXiv 2205.05198, without
    dropout's masks and with fused attention); and the logits that live at a time, three times."""
    rows = config.micro_batch or config.batch
    tokens = rows * config.row_of(hparams.n_ctx)
    size = 2 if config.precision == "bfloat16" else 4
    layers = tokens * hparams.n_layer * hparams.n_embd * 17 * size
    return 16.0 * hparams.n_params + layers + 3.0 * 4 * min(tokens, LOGITS) * hparams.n_vocab


def results(trainer: Trainer) -> list[tuple[str, str]]:
    """What a finished run came to; draws its losses."""
    config, out, labels = trainer.config, trainer.out, trainer.config.labels
    losses = list(trainer.progress.losses)[-_SHOWN:]
    mean = sum(losses) / len(losses)
    rows = [("loss", f"{mean:.4f} {labels.loss}, mean of the last {len(losses)} steps")]
    best = trainer.progress.best
    if not math.isinf(best):
        rows.append(("held-out loss", f"{best:.4f} {labels.loss}, the best"))
        if labels.perplexity:
            rows.append(("perplexity", f"{math.exp(best):,.4g}, held out"))
    rows += [
        *(
            (name, f"{trainer.measures[f'validation_{name}']:.3f}, held out")
            for name in labels.measures
            if f"validation_{name}" in trainer.measures
        ),
        *trainer.task.facts(),
        ("time", f"{duration(trainer.progress.seconds)} in {config.steps:,} steps"),
        ("model", f"{out / 'model'}"),
    ]
    if (out / "best").is_dir():
        rows.append(("best model", f"{out / 'best'} (lowest held-out loss)"))
    try:
        rows.append(("plot", str(draw_losses(out)[0])))
    except InputError as error:
        rows.append(("plot", f"none: {error}"))
    return rows
