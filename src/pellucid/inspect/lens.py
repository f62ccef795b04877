"""Logit lens: what the model would predict if it ended after each layer.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..draw.pictures import Lens, Section
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
from .threads import side_by_side

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["LogitLens", "logit_lens"]

_ROWS = 4  # positions whose distributions a thread holds in float64: they stay in its cache


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
    final = output[list(positions)]
    watched = None if target is None else token_id(gpt, target)
    return read_out(
        gpt, ids, positions, streams, final, target=watched, k=k, keep_logits=keep_logits
    )


def read_out(
    gpt: GPT,
    ids: tuple[int, ...],
    positions: tuple[int, ...],
    streams: Sequence[Array],
    final: np.ndarray,
    *,
    target: int | None = None,
    k: int = 5,
    keep_logits: bool = False,
) -> LogitLens:
    """The lens from what a pass over the ids has made: the stream before the first layer and
    after each one, [batch, position, n_embd], and the model's logits at the positions asked for,
    [len(positions), n_vocab]. It may have ended before the ids did."""
    hparams, backend = gpt.hparams, gpt.model.backend
    k, n = min(k, hparams.n_vocab), streams[0].shape[1]
    follow = [
        ids[i + 1] if i + 1 < n else int(own.argmax())
        for i, own in zip(positions, final, strict=True)
    ]
    targets = np.asarray(follow if target is None else [target] * len(positions), np.int64)

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

        def measure(some: slice, layer: int = layer, logits: np.ndarray = logits) -> None:
            own = np.take_along_axis(logits[some], targets[some, None], -1)
            best = highest(logits[some], k)
            here, total = _shifted(logits[some])
            model, model_total = _shifted(final[some])
            top_ids[layer, some] = best
            top_logprobs[layer, some] = np.take_along_axis(here, best, -1) - total
            target_logprobs[layer, some] = (
                np.take_along_axis(here, targets[some, None], -1) - total
            )[:, 0]
            target_ranks[layer, some] = np.count_nonzero(logits[some] > own, axis=-1)
            entropy[layer, some] = total[:, 0] - _expected(here, total, here)
            divergence[layer, some] = (
                _expected(model, model_total, model - here) - (model_total - total)[:, 0]
            )

        side_by_side(measure, len(positions), _ROWS, backend)

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


def _shifted(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[position, n_vocab] -> float64: without their highest, and the log of the sum of their exp
    [position, 1], so that the difference is the log-probabilities"""
    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x, np.log(np.exp(x).sum(-1, keepdims=True))


def _expected(x: np.ndarray, total: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of values [position, n_vocab] under the distribution exp(x - total), [position]"""
    return np.asarray(np.einsum("pv,pv->p", np.exp(x - total), values))
