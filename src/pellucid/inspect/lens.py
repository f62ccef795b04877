"""Logit lens: what the model would predict if it ended after each layer.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..draw.pictures import Lens, Section
from ..sampling import log_softmax
from ..taps import compose
from .finding import (
    Finding,
    chosen,
    highest,
    read,
    shortened,
    token_id,
    token_name,
    token_names,
    whole,
)
from .recorder import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["LogitLens", "logit_lens"]

_ROWS = 64  # positions whose distributions are held in float64 at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class LogitLens(Finding):
    """The residual stream read out at every layer and position.

    layers: "embed", then "0", "1", … (after that layer); the last is the model's own output.
    positions: which of the text's; text: up to the last of them. top_ids, top_tokens,
    top_logprobs [layer, position, k]: the likeliest. target_ids, targets [position]: the token that
    really follows, at the last of all the model's own prediction; or the one `watched` at all.
    target_logprobs, target_ranks [layer, position], ranks from 0. entropy, divergence [layer,
    position]: nats; KL(model's output ‖ this layer's). logits [layer, position, n_vocab], or None
    unless kept.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    layers: tuple[str, ...]
    positions: tuple[int, ...]
    top_ids: np.ndarray
    top_tokens: tuple[tuple[tuple[str, ...], ...], ...]
    top_logprobs: np.ndarray
    target_ids: tuple[int, ...]
    targets: tuple[str, ...]
    target_logprobs: np.ndarray
    target_ranks: np.ndarray
    entropy: np.ndarray
    divergence: np.ndarray
    logits: np.ndarray | None = None
    watched: bool = False

    def sections(self) -> list[Section]:
        texts = (text for layer in self.top_tokens for tops in layer for text in tops)
        lens = Lens(
            layers=self.layers,
            positions=self.positions,
            tokens=tuple(self.tokens[i] for i in self.positions),
            targets=self.targets,
            top=self.top_ids,
            logprobs=self.top_logprobs,
            target_logprobs=self.target_logprobs,
            target_ranks=self.target_ranks,
            entropy=self.entropy,
            divergence=self.divergence,
            watched=self.watched,
            texts={int(i): text for i, text in zip(self.top_ids.ravel(), texts, strict=True)},
        )
        return [
            Section(
                kind="LogitLens",
                title="Logit lens",
                how="What the model would predict if it ended after each layer, and how likely: "
                "layer by layer, for the tokens read so far.",
                about=shortened(self.text),
                pictures=(lens,),
            )
        ]


def logit_lens(
    gpt: GPT,
    text: str | Sequence[int],
    target: str | int | None = None,
    *,
    positions: int | Iterable[int] | None = None,
    k: int = 5,
    keep_logits: bool = False,
) -> LogitLens:
    """Final norm and unembedding applied to the residual stream after every layer.

    target: watched at every position, in place of the token that really follows. positions: only
    these; what follows the last of them is not looked at. keep_logits: keep all
    of them, layers × positions × n_vocab numbers.
    """
    ids, _ = read(gpt, text)
    positions = chosen(positions, len(ids), "position")
    recorder = Recorder(gpt, "resid_post", budget_bytes=1 << 62)
    first = Recorder(gpt, "blocks.0.resid_pre", budget_bytes=1 << 62)
    seen = ids[: max(positions, default=0) + 1]
    output = gpt.model.backend.to_numpy(gpt.forward([seen], tap=compose(first, recorder)))[0]
    streams = [*first.passes[0].values(), *recorder.passes[0].values()]
    watched = None if target is None else token_id(gpt, target)
    return read_out(
        gpt, ids, positions, streams, output, target=watched, k=k, keep_logits=keep_logits
    )


def read_out(
    gpt: GPT,
    ids: tuple[int, ...],
    positions: tuple[int, ...],
    streams: Sequence[Array],
    output: np.ndarray,
    *,
    target: int | None = None,
    k: int = 5,
    keep_logits: bool = False,
) -> LogitLens:
    """The lens from what a pass over the ids has made: the stream before the first layer and
    after each one, [batch, position, n_embd], and the model's logits [position, n_vocab]. It may
    have ended before the ids did."""
    hparams, backend = gpt.hparams, gpt.model.backend
    k = min(k, hparams.n_vocab)
    n = len(output)
    follow = [*ids[1:n], int(output[-1].argmax())]
    targets = np.asarray([follow[i] if target is None else target for i in positions])
    final = output[list(positions)]

    shape = (len(streams), len(positions))
    top_ids = np.empty((*shape, k), np.int64)
    top_logprobs = np.empty((*shape, k))
    target_logprobs, entropy, divergence = np.empty(shape), np.empty(shape), np.empty(shape)
    target_ranks = np.empty(shape, np.int64)
    kept = np.empty((*shape, hparams.n_vocab), final.dtype) if keep_logits else None
    rows = backend.ids(list(positions))
    for layer, x in enumerate(streams):
        # All positions stay together where all are asked for: then the last layer's arithmetic
        # is the output's, bit for bit.
        part = x if len(positions) == n else x[:, rows]
        logits = backend.to_numpy(gpt.model.readout(part))[0]
        if kept is not None:
            kept[layer] = logits
        for low in range(0, len(positions), _ROWS):
            some = slice(low, low + _ROWS)
            logprobs = log_softmax(logits[some].astype(np.float64))
            model = log_softmax(final[some].astype(np.float64))
            best = highest(logprobs, k)
            own = np.take_along_axis(logprobs, targets[some, None], -1)
            top_ids[layer, some] = best
            top_logprobs[layer, some] = np.take_along_axis(logprobs, best, -1)
            target_logprobs[layer, some] = own[:, 0]
            target_ranks[layer, some] = (logprobs > own).sum(-1)
            entropy[layer, some] = -(np.exp(logprobs) * logprobs).sum(-1)
            divergence[layer, some] = (np.exp(model) * (model - logprobs)).sum(-1)

    text_of = {int(i): token_name(gpt, int(i)) for i in np.unique(top_ids)}
    return LogitLens(
        ids=ids,
        tokens=token_names(gpt, ids),
        text=whole(gpt, ids[: max(positions, default=0) + 1]),
        layers=("embed", *(str(i) for i in range(hparams.n_layer))),
        positions=positions,
        top_ids=top_ids,
        top_tokens=tuple(
            tuple(tuple(text_of[int(i)] for i in p) for p in layer) for layer in top_ids
        ),
        top_logprobs=top_logprobs,
        target_ids=tuple(int(i) for i in targets),
        targets=token_names(gpt, targets),
        target_logprobs=target_logprobs,
        target_ranks=target_ranks,
        entropy=entropy,
        divergence=np.maximum(divergence, 0.0),
        logits=kept,
        watched=target is not None,
    )
