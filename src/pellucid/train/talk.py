"""The embedded talk model: a GPT small enough to read, trained in seconds on a few sentences.

It is GPT-2's model and GPT-2's kind of tokenizer, with a window of 8 tokens. It memorises the
sentences below, and that is all it can do. `pellucid train talk` makes it again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..errors import InputError
from ..hparams import SIZES
from ..model import Pass, gpt2
from ..tokenizer import Tokenizer
from ..weights import flatten, initialise, unflatten

if TYPE_CHECKING:
    from .trainer import StepReport

__all__ = ["PROMPT", "SENTENCES", "STEPS", "TalkTrainer"]

PROMPT = "The power clapper"

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
N_VOCAB = SIZES["talk"].n_vocab
STEPS = 1500
_RATE = 0.02
_DECAY = 0.01


class TalkTrainer:
    """Learns the sentences, all of them at each step. Iterating takes the steps.

    AdamW, the learning rate falling from 0.02 to 0 along a cosine. Raises InputError without
    PyTorch.
    """

    def __init__(self, steps: int = STEPS, seed: int = 0) -> None:
        try:
            import torch

            from ..backend.torch import TorchBackend
        except ImportError as error:
            raise InputError(
                'training needs PyTorch: pip install "pellucid[torch,train]"'
            ) from error
        if steps < 1:
            raise InputError(f"steps must be at least 1, not {steps}")
        self.steps, self.seed = steps, seed
        self.hparams = SIZES["talk"]
        # Said twice, a word's letters are merged; "clapper" is said once and stays in two pieces.
        self.tokenizer = Tokenizer.train([*SENTENCES, *SENTENCES[1:]], N_VOCAB)
        end = self.tokenizer.end_of_text
        assert end is not None
        self.rows = [[*self.tokenizer.encode(sentence), end] for sentence in SENTENCES]
        n_ctx = self.hparams.n_ctx
        inputs = np.full((len(self.rows), n_ctx), end)
        targets = np.full((len(self.rows), n_ctx), -100)  # -100: nothing to learn here
        for row, ids in enumerate(self.rows):
            known = ids[:n_ctx]
            inputs[row, : len(known)] = known
            following = ids[1 : n_ctx + 1]
            targets[row, : len(following)] = following
        self.n_learned = int((targets != -100).sum())  # tokens a step
        self.backend = TorchBackend(training=True)
        self.x, self.y = self.backend.ids(inputs), self.backend.ids(targets).reshape(-1)
        leaves = {
            name: self.backend.asarray(value).requires_grad_()
            for name, value in initialise(self.hparams, seed).items()
        }
        self.weights = unflatten(leaves, self.hparams)
        self.leaves = list(leaves.values())
        matrices = [leaf for leaf in self.leaves if leaf.dim() > 1]
        vectors = [leaf for leaf in self.leaves if leaf.dim() == 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": _DECAY},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=_RATE,
            betas=(0.9, 0.95),
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.loss = math.nan  # nats per token
        self.seconds = 0.0

    def __iter__(self) -> Iterator[StepReport]:
        import torch
        import torch.nn.functional as F

        from .trainer import StepReport

        for step in range(self.steps):
            start = time.perf_counter()
            logits = gpt2(self.x, self.weights, Pass(self.hparams, self.backend))
            rows = logits.reshape(-1, self.hparams.n_vocab)
            mean = F.cross_entropy(rows, self.y, ignore_index=-100)
            self.optimizer.zero_grad()
            mean.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.leaves, 1.0)
            rate = self.optimizer.param_groups[0]["lr"]
            self.optimizer.step()
            self.schedule.step()
            self.loss = mean.item()
            seconds = time.perf_counter() - start
            self.seconds += seconds
            yield StepReport(step + 1, self.loss, float(norm), rate, self.n_learned, seconds)

    def checkpoint(self) -> Checkpoint:
        """The model as it is now, with its card."""
        tensors = {
            name: np.ascontiguousarray(self.backend.to_numpy(leaf))
            for name, leaf in flatten(self.weights, self.hparams).items()
        }
        card = {
            "name": "talk",
            "about": "The talk's GPT: 8 tokens of window, small enough to read every number.",
            "command": "pellucid train talk",
            "data": f"{len(SENTENCES)} sentences written for it (pellucid/train/talk.py)",
            "licence": "MIT, as Pellucid",
            "parameters": self.hparams.n_params,
            "steps": self.steps,
            "seed": self.seed,
            "loss": round(self.loss, 4),
            "loss_unit": "nats per token, on the sentences it was trained on",
            "loss_floor": round(_floor(self.rows, self.hparams.n_ctx), 4),
            "trained_tokens": self.n_learned * self.steps,
            "seconds": round(self.seconds, 1),
            "limits": (
                "It has memorised its sentences. It knows no other words, holds no conversation, "
                "and is here to be looked at. There is no held-out loss: nothing was held out."
            ),
            "sentences": list(SENTENCES),
        }
        return Checkpoint(
            hparams=self.hparams,
            tensors=tensors,
            tokenizer=self.tokenizer,
            card=card,
            template="plain",
        )

    def save_model(self, folder: Path) -> None:
        model = self.checkpoint()
        checkpoint.save(
            folder,
            model.hparams,
            model.tensors,
            model.tokenizer,
            card=model.card,
            template=model.template,
        )


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
