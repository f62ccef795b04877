"""The embedded model `talk`: a GPT small enough to read, trained in seconds on a few sentences.

It is GPT-2's model and GPT-2's kind of tokenizer, with a window of 8 tokens. It memorises the
sentences below, and that is all it can do. `pellucid train talk` makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..hparams import SIZES
from ..tokenizer import Tokenizer
from ..weights import initialise
from .batches import IGNORE
from .config import TalkConfig
from .state import Saved
from .task import Progress, Rows, Task

__all__ = ["SENTENCES", "Talk"]

Tensor = Any

SENTENCES = (
    "The power clapper went straight to jail",
    "The power company went straight to court",
    "The power went out at night",
    "The power went straight to my head",
    "The thunder rolled at night",
    "The thunder went straight to my head",
    "The crowd went home at night",
    "The crowd went straight to the show",
    "The crowd will clap at the show",
    "The judge went straight to court",
    "The judge will clap at the show",
    "The judge went home to dinner",
    "The king went straight to dinner",
    "The king went home to jail",
    "The paper went straight to the king",
    "The paper went to the judge",
    "The piper went straight to my head",
    "The piper went out at dinner",
    "The company went home at night",
    "The company will clap at dinner",
    "My head went straight to the piper",
    "My power went out at the show",
    "My paper went to court",
    "My company went straight home",
)

# Enough merges for every word but "clapper" to be one token, so that it stays "clap" + "per".
_HPARAMS = SIZES["talk"]


class Talk(Task):
    """Learns the sentences, all of them at each step."""

    made_by = "pellucid train talk"

    def __init__(self, config: TalkConfig) -> None:
        self.config = config
        self.held_out: Rows | None = None
        self.notes: list[str] = []
        # Twice, a word's letters are merged; "clapper" is there once and stays in two pieces.
        tokenizer = Tokenizer.train([*SENTENCES, *SENTENCES[1:]], _HPARAMS.n_vocab)
        end = tokenizer.special_tokens["<|endoftext|>"]
        self.tokenizer = tokenizer
        self.ids = [[*tokenizer.encode(sentence), end] for sentence in SENTENCES]
        inputs = np.full((len(self.ids), _HPARAMS.n_ctx), end)
        targets = np.full((len(self.ids), _HPARAMS.n_ctx), IGNORE)
        for row, ids in enumerate(self.ids):
            known = ids[: _HPARAMS.n_ctx]
            inputs[row, : len(known)] = known
            following = ids[1 : _HPARAMS.n_ctx + 1]
            targets[row, : len(following)] = following
        self.rows: Rows = (inputs, targets)
        self.n_learned = self.count(self.rows)  # tokens a step

    def begin(self, saved: Saved | None) -> Checkpoint:
        tensors = saved.model.tensors if saved else initialise(_HPARAMS, self.config.seed)
        return Checkpoint(
            hparams=_HPARAMS,
            tensors=tensors,
            tokenizer=self.tokenizer,
            template=self.config.template,
        )

    def take(self, first: int, count: int) -> Rows:
        return self.rows

    def count(self, rows: Rows) -> int:
        """Tokens to be learned."""
        return int((rows[1] != IGNORE).sum())

    def loss(self, model: Any, rows: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        inputs, targets = rows
        return model(inputs, targets), {}

    def source(self) -> Mapping[str, Any]:
        return {"sentences": list(SENTENCES)}

    def card(self, progress: Progress) -> dict[str, Any]:
        return {
            "name": "talk",
            "about": "The talk's GPT: 8 tokens of window, small enough to read every number.",
            "command": "pellucid train talk",
            "data": f"{len(SENTENCES)} sentences written for it (pellucid/train/talk.py)",
            "licence": "MIT, as Pellucid",
            "parameters": _HPARAMS.n_params,
            "steps": progress.step,
            "seed": self.config.seed,
            "loss": round(progress.losses[-1], 4) if progress.losses else None,
            "loss_unit": "nats per token, on the sentences it was trained on",
            "loss_floor": self.floor,
            "trained_tokens": self.n_learned * progress.step,
            "seconds": round(progress.seconds, 1),
            "limits": (
                "It has memorised its sentences. It knows no other words, holds no conversation, "
                "and is here to be looked at. There is no held-out loss: nothing was held out."
            ),
            "sentences": list(SENTENCES),
        }

    @property
    def floor(self) -> float:
        """The lowest mean loss that any model could reach, in nats per token."""
        return round(_floor(self.ids, _HPARAMS.n_ctx), 4)

    def facts(self) -> list[tuple[str, str]]:
        return [
            ("lowest loss", f"{self.floor} nats/token is possible"),
            ("tokens", f"{self.n_learned * self.config.steps:,}"),
        ]

    def sampling(self, step: int) -> dict[str, Any]:
        """It has learned one continuation."""
        return {"greedy": True}

    def commands(self, model: Path) -> tuple[str, ...]:
        return (f'pellucid walk "{self.config.sample_prompt}" --model {model}',)


def _floor(rows: list[list[int]], n_ctx: int) -> float:
    """The lowest mean loss that any model could reach on these sentences: the entropy of the
    next token given all before it."""
    follow: dict[tuple[int, ...], dict[int, int]] = {}
    for ids in rows:
        for at in range(1, min(len(ids), n_ctx + 1)):
            counts = follow.setdefault(tuple(ids[:at]), {})
            counts[ids[at]] = counts.get(ids[at], 0) + 1
    total, nats = 0, 0.0
    for counts in follow.values():
        n = sum(counts.values())
        total += n
        nats -= sum(c * float(np.log(c / n)) for c in counts.values())
    return nats / total
