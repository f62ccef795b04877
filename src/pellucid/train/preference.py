"""Preference finetuning: of two replies, make the better one likelier (DPO, arXiv 2305.18290).

    loss = -log σ(β · (log π(y⁺)/π_ref(y⁺) - log π(y⁻)/π_ref(y⁻)))          (equation 7)

π is the model, π_ref the same model before training; log π(y) the sum over the assistant's tokens.
β · log π/π_ref is the reply's "reward". The rest of a run is `Trainer`'s: steps, LoRA, checkpoints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .. import checkpoint
from ..errors import InputError, PellucidError
from ..template import TEMPLATES, Message, Template
from ..tokenizer import Tokenizer
from .batches import IGNORE
from .config import TrainConfig
from .trainer import Rows, Trainer

__all__ = ["Pair", "Pairs", "PreferenceConfig", "PreferenceTrainer", "dpo_loss", "read_pairs"]

Tensor = Any

_SHOWN = 3  # bad lines named in an error
_REFERENCE = "reference"  # names of what a checkpoint keeps
_PAIRS = "pairs"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceConfig(TrainConfig):
    """corpus is a JSONL file of pairs, batch a number of pairs."""

    batch: int = 8
    steps: int = 200
    learning_rate: float = 1e-5
    warmup: int = 10
    weight_decay: float = 0.0
    beta: float = 0.1  # how dear it is to leave the reference
    label_smoothing: float = 0.0  # the share of pairs that may be the wrong way round
    held_out: float = 0.1  # the share of prompts kept for validation

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)  # super() does not work with slots before Python 3.14
        if self.start is None:
            raise InputError("start is missing: the model whose replies are to become better")
        if not self.beta > 0:
            raise InputError(f"beta must be above 0, not {self.beta}")
        if not 0 <= self.label_smoothing < 0.5:
            raise InputError(f"label_smoothing must be in [0, 0.5), not {self.label_smoothing}")
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out must be in [0, 1), not {self.held_out}")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two conversations that differ in their last turn, the assistant's, as ids; the first
    n_prompt ids of both are the same, and given."""

    n_prompt: int
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.chosen[: self.n_prompt]

    @property
    def longest(self) -> int:
        return max(len(self.chosen), len(self.rejected))


@dataclass
class Pairs:
    """What a preference run learns from. train, validation: places in `pairs`; no prompt is in
    both. reference [pair, 2]: log π_ref of the chosen and the rejected reply, in nats.
    n_too_long: pairs left out, because they do not fit into the window."""

    pairs: Sequence[Pair]
    train: np.ndarray
    validation: np.ndarray
    n_too_long: int
    tokens: Tokenizer
    seed: int
    reference: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.reference = np.full((len(self.pairs), 2), np.nan)

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
            "sha256": self.digest.tobytes().hex(),
        }

    def tokenizer(self) -> Tokenizer:
        return self.tokens

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
            for which, ids in enumerate((pair.chosen, pair.rejected)):
                inputs[row, which, : len(ids) - 1] = ids[:-1]
                learned = slice(pair.n_prompt - 1, len(ids) - 1)
                targets[row, which, learned] = ids[pair.n_prompt :]
        return inputs, targets, self.reference[places]


class PreferenceTrainer(Trainer):
    """A `Trainer` whose rows are pairs. A step's report has, beside the loss per pair, the
    measures accuracy (the share of pairs whose chosen reward is higher), margin (its mean lead),
    chosen and rejected (the mean rewards).

    Raises InputError for bad lines of the file, a template that the model lacks, or other pairs
    than those that the run in config.out began with.
    """

    made_by = "pellucid prefer"
    config: PreferenceConfig
    corpus: Pairs

    def __init__(self, config: PreferenceConfig) -> None:
        super().__init__(config)
        if self.saved is None:
            self._measure_reference()
            return
        if not np.array_equal(self.saved.kept.get(_PAIRS, ()), self.corpus.digest):
            raise InputError(
                f"{config.corpus} has other pairs than the run in {self.out} began with: give "
                "the same, or another --out"
            )
        self.corpus.reference = self.saved.kept[_REFERENCE]
        self._hold_out()

    def count(self, rows: Rows) -> int:
        return len(rows[0])

    def loss(self, model: Any, rows: Rows) -> tuple[Tensor, dict[str, float]]:
        inputs, targets, reference = rows
        policy = self._log_probabilities(model, inputs, targets)
        expected = torch.as_tensor(reference, dtype=policy.dtype, device=policy.device)
        rewards = self.config.beta * (policy - expected)  # [pair, 2]
        margins = rewards[:, 0] - rewards[:, 1]
        measured = torch.stack([(margins > 0).to(margins), margins, *rewards.T]).sum(1).tolist()
        names = ("accuracy", "margin", "chosen", "rejected")
        return (
            dpo_loss(margins, self.config.label_smoothing).sum(),
            dict(zip(names, measured, strict=True)),
        )

    def kept(self) -> dict[str, np.ndarray]:
        return {
            **super().kept(),
            _REFERENCE: self.corpus.reference,
            _PAIRS: self.corpus.digest,
        }

    def _log_probabilities(self, model: Any, inputs: np.ndarray, targets: np.ndarray) -> Tensor:
        """log p of each reply, in nats: inputs, targets [pair, 2, position] -> [pair, 2]"""
        width = inputs.shape[2]
        logits = model(self.backend.ids(inputs.reshape(-1, width)))  # [2 · pair, position, n_vocab]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        wanted = self.backend.ids(targets.reshape(-1))
        each = F.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=IGNORE, reduction="none")
        return -each.view(len(inputs), 2, width).sum(2)

    def _measure_reference(self) -> None:
        """Before training, once: the model still is its own reference."""
        pairs, size = self.corpus, self.config.micro_batch or self.config.batch
        self.backend.training = False
        with torch.no_grad(), self._autocast():
            # Neighbours in length, so that little is padding.
            order = np.argsort([pair.longest for pair in pairs.pairs], kind="stable")
            for begin in range(0, len(order), size):
                places = order[begin : begin + size]
                inputs, targets, _ = pairs.rows(places)
                found = self._log_probabilities(self.module, inputs, targets)
                pairs.reference[places] = found.double().cpu().numpy()
        self.backend.training = True
        self._hold_out()

    def _hold_out(self) -> None:
        held_out = self.corpus.validation
        every = max(1, -(-len(held_out) // self.config.eval_rows))
        self.validation = self.corpus.rows(held_out[::every]) if len(held_out) else None

    def _open_corpus(self) -> Pairs:
        config = self.config
        assert config.start is not None  # PreferenceConfig asks for it
        model = self.saved.model if self.saved is not None else checkpoint.load(config.start)
        if model.tokenizer is None:
            raise InputError(f"{config.start} has no tokenizer, and texts need one")
        template = _template(config.template or model.template or "plain", model.tokenizer)
        found = read_pairs(Path(config.corpus), template, model.tokenizer)
        fitting = [pair for pair in found if pair.longest <= model.hparams.n_ctx + 1]
        prompts = list(dict.fromkeys(pair.prompt for pair in fitting))
        drawn = np.random.default_rng(config.seed).permutation(len(prompts))
        held = {prompts[i] for i in drawn[: int(config.held_out * len(prompts))]}
        for_validation = np.array([pair.prompt in held for pair in fitting], bool)
        if for_validation.all():
            raise InputError(
                f"{config.corpus}: none of {len(found)} pairs is left to learn from "
                f"({len(found) - len(fitting)} are longer than the window of "
                f"{model.hparams.n_ctx} tokens)"
            )
        return Pairs(
            fitting,
            np.flatnonzero(~for_validation),
            np.flatnonzero(for_validation),
            len(found) - len(fitting),
            model.tokenizer,
            config.seed,
        )

    def _rows(self) -> tuple[Any, Rows | None]:
        return self.corpus, None  # held-out rows need the reference, which needs the module


def dpo_loss(margins: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """margins [pair], the chosen reward minus the rejected -> loss in nats [pair]

    label_smoothing: how often a pair is the wrong way round (arXiv 2305.18290's loss with the
    flipped one mixed in, "conservative DPO", E. Mitchell 2023).
    """
    right, wrong = F.logsigmoid(margins), F.logsigmoid(-margins)
    return -(1 - label_smoothing) * right - label_smoothing * wrong


def read_pairs(path: Path, template: Template, tokenizer: Tokenizer) -> list[Pair]:
    """Lines of {"prompt", "chosen", "rejected"} -> pairs, as the template writes them.

    prompt: what a user says, or turns of {"role", "text"} (or "content"). chosen, rejected: the
    assistant's reply. Raises InputError that names the lines which are no pairs.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    pairs, wrong = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                pairs.append(_pair(json.loads(line), template, tokenizer))
            except (json.JSONDecodeError, RecursionError) as error:
                wrong.append(f"line {number} is not JSON ({error})")
            except (PellucidError, UnicodeError) as error:
                wrong.append(f"line {number}: {error}")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more lines" if len(wrong) > _SHOWN else ""
        raise InputError(f"{path}: {'; '.join(wrong[:_SHOWN])}{more}")
    if not pairs:
        raise InputError(f"{path} has no pairs")
    return pairs


def _pair(entry: Any, template: Template, tokenizer: Tokenizer) -> Pair:
    if not isinstance(entry, Mapping) or not {"prompt", "chosen", "rejected"} <= set(entry):
        raise InputError('a pair needs "prompt", "chosen" and "rejected"')
    said = entry["prompt"]
    turns = [{"role": "user", "text": said}] if isinstance(said, str) else said
    if not isinstance(turns, list) or not turns:
        raise InputError('"prompt" must be a text or a list of turns')
    prompt = template.render(tokenizer, [_message(turn) for turn in turns])
    n_cue = len(template.cue(tokenizer))
    replies = []
    for name in ("chosen", "rejected"):
        if not isinstance(entry[name], str):
            raise InputError(f'"{name}" must be a text')
        replies.append(template.turn(tokenizer, "assistant", entry[name])[n_cue:])
    if replies[0] == replies[1]:
        raise InputError("chosen and rejected are the same")
    if not prompt or not all(replies):
        raise InputError("the prompt or a reply is empty")
    return Pair(len(prompt), (*prompt, *replies[0]), (*prompt, *replies[1]))


def _message(turn: Any) -> Message:
    role = turn.get("role") if isinstance(turn, Mapping) else None
    text = turn.get("text", turn.get("content")) if isinstance(turn, Mapping) else None
    if role not in ("system", "user", "assistant") or not isinstance(text, str):
        raise InputError('a turn needs a "role" (system, user, assistant) and a "text"')
    return Message(role, text)


def _template(name: str, tokenizer: Tokenizer) -> Template:
    if name not in TEMPLATES:
        raise InputError(f"no chat template {name!r}; there are {', '.join(TEMPLATES)}")
    TEMPLATES[name].check(tokenizer)
    return TEMPLATES[name]
