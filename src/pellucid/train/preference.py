"""Preference finetuning: of two replies, make the better one likelier (DPO, arXiv 2305.18290).

    loss = -log σ(β · (log π(y⁺)/π_ref(y⁺) - log π(y⁻)/π_ref(y⁻)))          (equation 7)

π is the model, π_ref the same model before training; log π(y) the sum over the assistant's tokens.
β · log π/π_ref is the reply's "reward".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .. import checkpoint
from ..checkpoint import Checkpoint
from ..data.pairs import Pair, read_pairs
from ..errors import InputError
from ..template import Template, look_up
from ..tokenizer import Tokenizer
from .batches import IGNORE
from .config import PreferenceConfig
from .state import Saved
from .task import Measure, Rows, Task

__all__ = ["Pairs", "Preferences", "dpo_loss", "log_probabilities"]

Tensor = Any

_REFERENCE = "reference"  # names of what a checkpoint keeps
_PAIRS = "pairs"
_MEASURES = ("accuracy", "margin", "chosen", "rejected")


@dataclass(kw_only=True)
class Pairs:
    """What a preference run learns from. train, validation: places in `pairs`; no prompt is in
    both. reference [pair, 2]: log π_ref of the chosen and the rejected reply, in nats.
    n_too_long: pairs left out, because they do not fit into the window. n_bad: rows left out,
    because they are no pairs. n_equal: because both replies are the same."""

    pairs: Sequence[Pair]
    train: np.ndarray
    validation: np.ndarray
    n_too_long: int
    n_bad: int
    n_equal: int
    seed: int
    reference: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.reference = np.full((len(self.pairs), 2), np.nan)

    @property
    def n_prompts(self) -> int:
        return len({pair.prompt for pair in self.pairs})

    @property
    def left_out(self) -> str:
        """How many, and why; empty where all are taken."""
        counts = (
            (self.n_too_long, "too long for the window"),
            (self.n_equal, "of two equal replies"),
            (self.n_bad, "rows no pairs"),
        )
        return ", ".join(f"{n:,} {why}" for n, why in counts if n)

    @property
    def digest(self) -> np.ndarray:
        """sha256 of the pairs' ids."""
        text = repr([(pair.n_prompt, pair.chosen, pair.rejected) for pair in self.pairs])
        return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)

    @property
    def card(self) -> dict[str, Any]:
        return {
            "pairs": len(self.train),
            "validation_pairs": len(self.validation),
            "too_long": self.n_too_long,
            "bad": self.n_bad,
            "equal": self.n_equal,
            "sha256": self.digest.tobytes().hex(),
        }

    def take(self, first: int, count: int) -> Rows:
        """Pairs number first…first + count - 1 of the endless sequence of epochs, as `rows`; the
        order is drawn anew for each epoch, from the seed alone."""
        n = len(self.train)
        orders = {
            epoch: np.random.default_rng([self.seed, epoch]).permutation(n)
            for epoch in range(first // n, (first + count - 1) // n + 1)
        }
        numbers = range(first, first + count)
        return self.rows(np.array([self.train[orders[i // n][i % n]] for i in numbers]))

    def rows(self, places: np.ndarray) -> Rows:
        """-> inputs [pair, 2, position], targets [pair, 2, position], reference [pair, 2];
        chosen before rejected. Prompt and padding are IGNORE among the targets."""
        taken = [self.pairs[place] for place in places]
        width = max(pair.longest for pair in taken) - 1
        inputs = np.zeros((len(taken), 2, width), np.int64)
        targets = np.full((len(taken), 2, width), IGNORE, np.int64)
        for row, pair in enumerate(taken):
            for side, ids in enumerate((pair.chosen, pair.rejected)):
                inputs[row, side, : len(ids) - 1] = ids[:-1]
                learned = slice(pair.n_prompt - 1, len(ids) - 1)
                targets[row, side, learned] = ids[pair.n_prompt :]
        return inputs, targets, self.reference[places]


class Preferences(Task):
    """Rows are pairs of replies. A step's report has, beside the loss per pair, the measures
    accuracy (the share of pairs whose chosen reward is higher), margin (its mean lead), chosen
    and rejected (the mean rewards).

    Beginning raises InputError for rows of the file that are no pairs, a template that the model
    lacks, or other pairs than those that the run in config.out began with.
    """

    made_by = "pellucid prefer"

    def __init__(self, config: PreferenceConfig) -> None:
        self.config: PreferenceConfig = config
        self.held_out: Rows | None = None
        self.notes: list[str] = []

    def begin(self, saved: Saved | None) -> Checkpoint:
        config = self.config
        assert config.start is not None  # PreferenceConfig asks for it
        model = saved.model if saved is not None else checkpoint.load(config.start)
        if model.tokenizer is None:
            raise InputError(f"{config.start} has no tokenizer, and texts need one")
        template = look_up(config.template or model.template or "plain", model.tokenizer)
        self.pairs = _read(config, template, model.tokenizer, model.hparams.n_ctx)
        if saved is not None:
            if not np.array_equal(saved.kept.get(_PAIRS, ()), self.pairs.digest):
                raise InputError(
                    f"{config.corpus} has other pairs than the run in {config.out} began with: "
                    "give the same, or another --out"
                )
            self.pairs.reference = saved.kept[_REFERENCE]
        if config.eval_every and config.held_out and not len(self.pairs.validation):
            self.notes.append(
                f"no held-out loss: held_out = {config.held_out:g} of {self.pairs.n_prompts} "
                "prompts is not one of them"
            )
        if left_out := self.pairs.left_out:
            self.notes.append(f"left out: {left_out}")
        return Checkpoint(
            hparams=model.hparams,
            tensors=model.tensors,
            tokenizer=model.tokenizer,
            template=config.template or model.template,
        )

    def ready(self, saved: Saved | None, measure: Measure) -> None:
        if saved is None:
            self.measure_reference(measure)
        validation = self.pairs.validation
        every = max(1, -(-len(validation) // self.config.eval_rows))
        self.held_out = self.pairs.rows(validation[::every]) if len(validation) else None

    def measure_reference(self, measure: Measure) -> None:
        """Before training, once: the model still is its own reference."""
        pairs, size = self.pairs, self.config.micro_batch or self.config.batch
        # Neighbours in length, so that little is padding.
        order = np.argsort([pair.longest for pair in pairs.pairs], kind="stable")
        for begin in range(0, len(order), size):
            places = order[begin : begin + size]
            inputs, targets, _ = pairs.rows(places)
            logs = measure(log_probabilities, (inputs, targets))
            pairs.reference[places] = logs.cpu().double().numpy()

    def take(self, first: int, count: int) -> Rows:
        return self.pairs.take(first, count)

    def count(self, rows: Rows) -> int:
        """Pairs."""
        return len(rows[0])

    def loss(self, model: Any, rows: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        inputs, targets, reference = rows
        policy = log_probabilities(model, inputs, targets)
        rewards = self.config.beta * (policy - reference.to(policy.dtype))  # [pair, 2]
        margins = rewards[:, 0] - rewards[:, 1]
        measured = torch.stack([(margins > 0).to(margins), margins, *rewards.T]).sum(1).tolist()
        losses = dpo_loss(margins, self.config.label_smoothing)
        return losses.sum(), dict(zip(_MEASURES, measured, strict=True))

    def kept(self) -> dict[str, np.ndarray]:
        return {_REFERENCE: self.pairs.reference, _PAIRS: self.pairs.digest}

    def source(self) -> Mapping[str, Any]:
        return self.pairs.card

    def facts(self) -> list[tuple[str, str]]:
        pairs = self.pairs
        learned = f"{len(pairs.train):,} to learn from, {len(pairs.validation):,} held out"
        return [("pairs", ", ".join([learned, *([pairs.left_out] if pairs.left_out else [])]))]


def log_probabilities(model: Any, inputs: Tensor, targets: Tensor) -> Tensor:
    """log p of each reply, in nats: inputs, targets [pair, 2, position] -> [pair, 2]"""
    logits = model(inputs.flatten(0, 1))  # [2 · pair, position, n_vocab]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    each = F.cross_entropy(
        logits.flatten(0, 1), targets.reshape(-1), ignore_index=IGNORE, reduction="none"
    )
    return -each.view(len(inputs), 2, -1).sum(2)


def dpo_loss(margins: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """margins [pair], the chosen reward minus the rejected -> loss in nats [pair]

    label_smoothing: how often a pair is the wrong way round (arXiv 2305.18290's loss with the
    flipped one mixed in, "conservative DPO", E. Mitchell 2023).
    """
    right, wrong = F.logsigmoid(margins), F.logsigmoid(-margins)
    return -(1 - label_smoothing) * right - label_smoothing * wrong


def _read(config: PreferenceConfig, template: Template, tokenizer: Tokenizer, n_ctx: int) -> Pairs:
    file = Path(config.corpus)
    pairs, n_bad, n_equal = read_pairs(file, template, tokenizer, skip_bad=config.skip_bad)
    fitting = [pair for pair in pairs if pair.longest <= n_ctx + 1]
    prompts = list(dict.fromkeys(pair.prompt for pair in fitting))
    drawn = np.random.default_rng(config.seed).permutation(len(prompts))
    held_out = {prompts[i] for i in drawn[: int(config.held_out * len(prompts))]}
    for_validation = np.array([pair.prompt in held_out for pair in fitting], bool)
    n_too_long = len(pairs) - len(fitting)
    if for_validation.all():
        raise InputError(
            f"{config.corpus}: none of {len(pairs)} pairs is left to learn from "
            f"({n_too_long} are longer than the window of {n_ctx} tokens)"
        )
    return Pairs(
        pairs=fitting,
        train=np.flatnonzero(~for_validation),
        validation=np.flatnonzero(for_validation),
        n_too_long=n_too_long,
        n_bad=n_bad,
        n_equal=n_equal,
        seed=config.seed,
    )
