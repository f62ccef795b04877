"""One text through the weights of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..inspect import trace
from ..sampling import log_softmax

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Look", "flat", "look", "sharpest"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a moment makes of a text. pattern [layer, head, query, key]. logprobs [n_vocab]: of
    the next token. text_loss: the mean of -log p of the text's own tokens, in nats, None where
    there is but one. dictionary [token, n_embd]: the embeddings of some tokens."""

    pattern: np.ndarray
    logprobs: np.ndarray
    text_loss: float | None
    dictionary: np.ndarray


def look(gpt: GPT, ids: Sequence[int], tokens: Iterable[int]) -> Look:
    """tokens: whose embeddings."""
    seen = trace(gpt, ids, ["attn.pattern", "logits"])
    logprobs = log_softmax(seen["logits"].astype(np.float64))
    following = logprobs[np.arange(len(ids) - 1), list(ids[1:])]
    return Look(
        pattern=np.stack(
            [seen[f"blocks.{layer}.attn.pattern"] for layer in range(gpt.hparams.n_layer)]
        ),
        logprobs=logprobs[-1],
        text_loss=float(-following.mean()) if len(following) else None,
        dictionary=gpt.model.backend.to_numpy(gpt.model.embedding(list(tokens))),
    )


def sharpest(first: Look, last: Look) -> tuple[int, int]:
    """The head whose last query's row changed most between two moments: (layer, head)."""
    change = np.abs(last.pattern[:, :, -1] - first.pattern[:, :, -1]).sum(-1)
    layer, head = np.unravel_index(int(change.argmax()), change.shape)
    return int(layer), int(head)


def flat(dictionaries: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of several moments [moment][token, n_embd] -> points [moment, token, 2] in the
    plane in which the last moment's differ most (its first two principal components), and the
    share of their variance that each direction has [2].

    One plane for all: what moves there, moves because it learned.
    """
    last = np.asarray(dictionaries[-1], np.float64)
    middle = last.mean(0)
    _, sizes, directions = np.linalg.svd(last - middle, full_matrices=False)
    plane = np.zeros((2, last.shape[1]))
    plane[: len(directions)] = directions[:2]
    largest = plane[np.arange(2), np.abs(plane).argmax(1)]
    plane *= np.where(largest < 0, -1.0, 1.0)[:, None]  # a direction and its opposite are alike
    shares = np.zeros(2)
    squares = sizes**2
    shares[: len(sizes)] = squares[:2] / (squares.sum() or 1.0)
    points = [(np.asarray(table, np.float64) - middle) @ plane.T for table in dictionaries]
    return np.stack(points), shares
