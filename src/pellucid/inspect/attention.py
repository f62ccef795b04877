"""Who looks where: the heads' patterns on a text, and measured labels for what heads do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .finding import Finding, chosen, read
from .trace import BUDGET, trace

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["HEAD_KINDS", "AttentionSummary", "HeadLabel", "HeadLabels", "attention", "head_labels"]

# Where a head of each kind looks from the query at position q, in a text that repeats itself
# after `period` tokens.
HEAD_KINDS = {
    "previous token": "the token before: q - 1",
    "duplicate token": "the same token, earlier: q - period",
    "induction": "what followed the same token, earlier: q - period + 1",
    "first token": "position 0, as heads do that have nothing to say",
    "self": "the token itself: q",
}


@dataclass(frozen=True, eq=False)
class AttentionSummary(Finding):
    """Patterns of one text. Axes follow `layers` and `heads`, the ones asked for.

    pattern [layer, head, query, key]: rows sum to 1. strongest [layer, head, query]: the key
    each query looks at most. entropy, distance [layer, head]: means over the queries, in nats
    (0: one key only) and in tokens looked back.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    pattern: np.ndarray
    strongest: np.ndarray
    entropy: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True, slots=True)
class HeadLabel(Finding):
    layer: int
    head: int
    label: str  # one of HEAD_KINDS
    score: float


@dataclass(frozen=True, eq=False)
class HeadLabels(Finding):
    """scores: kind → [layer, head], the mean attention that goes where such a head looks
    (0…1), on random tokens that are then repeated. labels: the scores of at least
    `threshold`, strongest first. period: how many random tokens."""

    scores: dict[str, np.ndarray]
    labels: tuple[HeadLabel, ...]
    threshold: float
    period: int
    seed: int

    def of(self, kind: str) -> tuple[tuple[int, int], ...]:
        """(layer, head) of every head with this label, strongest first."""
        return tuple((each.layer, each.head) for each in self.labels if each.label == kind)

    def at(self, layer: int, head: int) -> list[HeadLabel]:
        """The labels of one head, strongest first."""
        return [each for each in self.labels if (each.layer, each.head) == (layer, head)]


def attention(
    gpt: GPT,
    text: str | Sequence[int],
    *,
    layers: int | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
    budget_bytes: int = BUDGET,
) -> AttentionSummary:
    """The patterns of a text, all heads or some, within a budget (see `trace`)."""
    ids, tokens = read(gpt, text)
    which = chosen(layers, gpt.hparams.n_layer, "layer")
    some = chosen(heads, gpt.hparams.n_head, "head")
    found = trace(gpt, ids, "attn.pattern", layers=which, heads=some, budget_bytes=budget_bytes)
    pattern = np.stack([found[f"blocks.{layer}.attn.pattern"] for layer in which])
    positive = np.where(pattern > 0, pattern, 1).astype(np.float64)
    steps = np.arange(len(ids))
    back = steps[:, None] - steps
    return AttentionSummary(
        ids,
        tokens,
        which,
        some,
        pattern,
        pattern.argmax(-1),
        -(pattern * np.log(positive)).sum(-1).mean(-1),
        (pattern * back).sum(-1).mean(-1),
    )


def head_labels(
    gpt: GPT,
    *,
    threshold: float = 0.4,
    period: int | None = None,
    n_texts: int = 4,
    seed: int = 0,
) -> HeadLabels:
    """Measure what each head does, on random tokens repeated once (Olsson et al., "In-context
    Learning and Induction Heads", 2022): nothing but the repetition can be made use of.

    period: random tokens before the repetition (default: up to 48, as the window allows).
    n_texts: how many such texts the scores are averaged over.
    Raises InputError when the window cannot hold a repetition.
    """
    hparams = gpt.hparams
    start = gpt.tokenizer.end_of_text
    first = 0 if start is None else 1  # documents begin with it
    usual = np.setdiff1d(np.arange(hparams.n_vocab), [] if start is None else [start])
    most = min((hparams.n_ctx - first) // 2, len(usual))
    period = min(48, most) if period is None else period
    if not 2 <= period <= most:
        raise InputError(
            f"period must be between 2 and {most} here (half the context window), not {period}"
        )
    if n_texts < 1 or seed < 0:
        raise InputError("n_texts must be at least 1 and seed not negative")
    rng = np.random.default_rng(seed)
    once = np.stack([rng.choice(usual, period, replace=False) for _ in range(n_texts)])
    texts = np.concatenate([once, once], 1)
    if start is not None:
        texts = np.concatenate([np.full((n_texts, 1), start), texts], 1)

    shape = (hparams.n_layer, hparams.n_head)
    scores = {kind: np.zeros(shape) for kind in HEAD_KINDS}
    second = np.arange(first + period, texts.shape[1])  # queries of the repetition
    later = np.arange(1, texts.shape[1])
    looks = {
        "previous token": (later, later - 1),
        "duplicate token": (second, second - period),
        "induction": (second, second - period + 1),
        "first token": (later, np.zeros_like(later)),
        "self": (later, later),
    }

    class _Measure:
        def wants(self, name: str) -> bool:
            return name.endswith("attn.pattern")

        def __call__(self, name: str, value: Array) -> Array:
            if self.wants(name):
                pattern = gpt.model.backend.to_numpy(value)  # [batch, head, query, key]
                layer = int(name.split(".")[1])
                for kind, (query, key) in looks.items():
                    scores[kind][layer] = pattern[:, :, query, key].mean((0, 2))
            return value

    gpt.forward(texts, tap=_Measure(), last_only=True)
    labels = [
        HeadLabel(int(layer), int(head), kind, float(table[layer, head]))
        for kind, table in scores.items()
        for layer, head in np.argwhere(table >= threshold)
    ]
    labels.sort(key=lambda each: -each.score)
    return HeadLabels(scores, tuple(labels), threshold, period, seed)
