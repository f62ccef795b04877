"""How far a model is from another of the same vocabulary: what rounding its weights has cost.

Both read the same text and predict each next token; nothing is generated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Ids
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend.rounded import RoundedBackend
from ..errors import InputError
from ..gpt import GPT
from ..model import Model
from ..sampling import log_softmax
from .likelihood import check_windows, windows
from .scoring import opening

if TYPE_CHECKING:
    from ..backend import Array

__all__ = ["NEAR_TIE", "Divergence", "divergence", "rounded"]

NEAR_TIE = 0.1  # nats between the two likeliest tokens; below it a flip says little
_POSITIONS = 64  # positions whose distributions are held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Sums over n_tokens predictions of `model`, each beside that of `against`.

    kl: nats by which `against` would be surprised, KL(against‖model). most: of one prediction.
    nats, nats_against: what the tokens that came cost each. squares: of their differences, token
    by token. flips: predictions whose likeliest token is another one; near_ties: those of them
    where `against` held two tokens for almost as likely (NEAR_TIE); n_near_ties: all such
    predictions. complete: False when broken off.
    """

    model: str
    against: str
    window: int
    stride: int
    n_documents: int
    n_tokens: int = 0
    kl: float = 0.0
    most: float = 0.0
    nats: float = 0.0
    nats_against: float = 0.0
    squares: float = 0.0
    flips: int = 0
    near_ties: int = 0
    n_near_ties: int = 0
    complete: bool = True

    @property
    def kl_per_token(self) -> float:
        return self.kl / self.n_tokens if self.n_tokens else math.nan

    @property
    def same_top_1(self) -> float:
        """The share of predictions whose likeliest token is the same."""
        return 1 - self.flips / self.n_tokens if self.n_tokens else math.nan

    @property
    def perplexity_ratio(self) -> float:
        """Of `model` to `against`."""
        if not self.n_tokens:
            return math.nan
        return math.exp((self.nats - self.nats_against) / self.n_tokens)

    @property
    def ratio_error(self) -> float:
        """The ratio's standard error, tokens taken as independent."""
        if not self.n_tokens:
            return math.nan
        mean = (self.nats - self.nats_against) / self.n_tokens
        variance = max(0.0, self.squares / self.n_tokens - mean**2)
        return self.perplexity_ratio * math.sqrt(variance / self.n_tokens)

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "kl_per_token": self.kl_per_token,
            "same_top_1": self.same_top_1,
            "perplexity_ratio": self.perplexity_ratio,
            "ratio_error": self.ratio_error,
        }


def rounded(gpt: GPT, linear: str | None = "int8", head: str | None = "int8") -> GPT:
    """The same model with its weights kept in fewer bits, computed by numpy.

    linear, head: of the linear maps, and of the token embeddings, which are the output layer:
    "int8", "int4", or None as they are. Raises InputError for another.
    """
    machine = RoundedBackend(linear, head)
    return GPT(
        Model.of(gpt.hparams, gpt.model.tensors(), machine),
        gpt.tokenizer,
        card=gpt.card,
        template=gpt.template,
        name=f"{gpt.name}, linear layers {linear or 'whole'}, output layer {head or 'whole'}",
        roles=gpt.roles,
    )


def divergence(
    gpt: GPT,
    against: GPT,
    text: str | Iterable[str | Ids[int]],
    *,
    stride: int | None = None,
    window: int | None = None,
    on_progress: Callable[[Divergence, int], None] | None = None,
) -> Divergence:
    """How far `gpt` is from `against` on a text, or separate documents (texts or ids).

    window, stride: as for `perplexity`, which scores the same tokens. on_progress: called with
    what is known so far and the number of documents begun. Raises InputError where the two have
    different tokens, for a setting out of range, and where there is no token to predict.
    """
    if gpt.tokenizer.fingerprint() != against.tokenizer.fingerprint():
        raise InputError(
            f"{gpt.name} and {against.name} have different tokens: their predictions cannot be "
            "held against each other"
        )
    n_ctx = min(gpt.hparams.n_ctx, against.hparams.n_ctx)
    window, stride = check_windows(n_ctx, window, stride)
    documents = [text] if isinstance(text, str) else text
    sums = np.zeros(5)  # kl, nats, nats_against, squares; and apart, the largest kl
    counts = np.zeros(4, np.int64)  # tokens, flips, near ties among them, near ties
    begun = 0

    def so_far(complete: bool) -> Divergence:
        kl, nats, nats_against, squares, most = map(float, sums)
        n_tokens, flips, near_ties, n_near_ties = map(int, counts)
        return Divergence(
            model=gpt.name, against=against.name, window=window, stride=stride,
            n_documents=begun, n_tokens=n_tokens, kl=kl, most=most, nats=nats,
            nats_against=nats_against, squares=squares, flips=flips, near_ties=near_ties,
            n_near_ties=n_near_ties, complete=complete,
        )  # fmt: skip

    for document in documents:
        begun += 1
        ids, begin = _ids(against, document), opening(against)
        if not begin or ids[: len(begin)] != begin:
            ids = [*begin, *ids]
        for first, end, n in windows(len(ids), window, stride):
            rows = slice(end - first - 1 - n, end - first - 1)
            pair = [each.forward(ids[first : end - 1])[rows] for each in (gpt, against)]
            for kl, cost, flipped, near in _compared(gpt, against, pair, ids[end - n : end]):
                apart = cost[0] - cost[1]
                sums[:4] += kl.sum(), cost[0].sum(), cost[1].sum(), np.square(apart).sum()
                sums[4] = max(sums[4], kl.max())
                counts += len(kl), flipped.sum(), (flipped & near).sum(), near.sum()
            if on_progress is not None:
                on_progress(so_far(False), begun)
    if not counts[0]:
        raise InputError("there is no token to predict: the text is empty")
    return so_far(True)


def _ids(gpt: GPT, document: str | Ids[int]) -> list[int]:
    if isinstance(document, str):
        return gpt.tokenizer.encode(document)
    return [int(token) for token in document]


def _compared(
    gpt: GPT, against: GPT, logits: list[Array], targets: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """logits: of both, [position, n_vocab]; targets [position], some positions at a time -> per
    position the KL, [model, against] what the target cost, whether the likeliest is another, and
    whether `against` was near a tie."""
    machines = [each.model.backend for each in (gpt, against)]
    for low in range(0, len(targets), _POSITIONS):
        part = slice(low, low + _POSITIONS)
        ours, theirs = (
            log_softmax(np.asarray(machine.to_numpy(each[part]), np.float64))
            for machine, each in zip(machines, logits, strict=True)
        )
        kl = (np.exp(theirs) * (theirs - ours)).sum(-1)
        rows, wanted = np.arange(len(kl)), targets[part]
        cost = -np.stack([each[rows, wanted] for each in (ours, theirs)])
        second, first = np.partition(theirs, -2, axis=-1)[:, -2:].T
        yield kl, cost, ours.argmax(-1) != theirs.argmax(-1), first - second < NEAR_TIE
