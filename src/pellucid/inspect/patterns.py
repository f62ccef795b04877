"""Who looks where: the heads' patterns on a text, and measured labels for what heads do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..draw.notation import head_name, percent
from ..draw.pictures import Heads, Heat, Lines, Section, Tabs
from ..errors import InputError
from ..families import family_of
from .cost import BUDGET
from .finding import Finding, chosen, head_names, layer_names, read, shortened, token_names, whole
from .recorder import trace
from .threads import side_by_side

if TYPE_CHECKING:
    from ..backend import Array, Backend
    from ..gpt import GPT

__all__ = [
    "HEAD_KINDS",
    "AttentionSummary",
    "HeadLabel",
    "HeadLabels",
    "attention",
    "head_labels",
    "patterns_of",
    "summary",
]

# Where a head of each kind looks from the query at position q, in a text that repeats itself
# after `period` tokens.
HEAD_KINDS = {
    "previous token": "the token before: q - 1",
    "duplicate token": "the same token, earlier: q - period",
    "induction": "what followed the same token, earlier: q - period + 1",
    "first token": "position 0, as heads do that have nothing to say",
    "self": "the token itself: q",
}

_QUERIES = 128  # at a time: a head's rows of so many stay in a core's cache
_HEADS = 2  # whose patterns are computed together
_NAMED = 12  # heads of a kind that are named in a line


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionSummary(Finding):
    """Patterns of one text. Axes follow `layers` and `heads`, the ones asked for.

    pattern [layer, head, query, key]: rows sum to 1. strongest [layer, head, query]: the key
    each query looks at most. entropy, distance [layer, head]: means over the queries, in nats
    (0: one key only) and in tokens looked back.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    pattern: np.ndarray
    strongest: np.ndarray
    entropy: np.ndarray
    distance: np.ndarray

    def sections(self, *, position: int = -1, labels: HeadLabels | None = None) -> list[Section]:
        """position: whose row, where one is shown at a time. labels: what the heads are known to
        do, shown beside them."""
        (query,) = chosen(position, len(self.tokens), "position")
        known: dict[tuple[int, int], tuple[str, ...]] = {}
        for each in () if labels is None else labels.labels:
            at = (each.layer, each.head)
            known[at] = (*known.get(at, ()), each.label)
        title = "Attention heads"
        if len(self.layers) == len(self.heads) == 1:
            title = f"Attention of head {self.heads[0]} of layer {self.layers[0]}"
        heads = Heads(
            tokens=self.tokens,
            layers=self.layers,
            heads=self.heads,
            pattern=self.pattern,
            entropy=self.entropy,
            distance=self.distance,
            position=query,
            labels=known,
            more="For every weight of some heads ask for them alone: attention(gpt, text, "
            "layers=3, heads=[0, 5]), or --layer 3 --head 0,5.",
        )
        return [
            Section(
                kind="AttentionSummary",
                title=title,
                how="Who looks where: rows are the tokens that look (queries), columns the tokens "
                "looked at (keys). The shares of a row sum to 1.",
                about=shortened(self.text),
                pictures=(heads,),
            )
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadLabel(Finding):
    layer: int
    head: int
    label: str  # one of HEAD_KINDS
    score: float

    def sections(self) -> list[Section]:
        line = f"{head_name(self.layer, self.head)}: {self.label}, {self.score:.3f}"
        return [
            Section(
                kind="HeadLabel",
                title=f"Head {self.head} of layer {self.layer}",
                how="Share of its attention that goes to "
                f"{HEAD_KINDS.get(self.label, self.label)}.",
                pictures=(Lines(lines=(line,)),),
            )
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
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

    def sections(self) -> list[Section]:
        kinds = list(self.scores)
        stacked = np.stack([self.scores[kind] for kind in kinds])  # [kind, layer, head]
        _, n_layer, n_head = stacked.shape
        highest = stacked.max(0)
        cells = tuple(
            f"{kinds[kind][0].upper() if score >= self.threshold else '·'} "
            f"{percent(float(score), whole=True):>4}"
            for kind, score in zip(stacked.argmax(0).ravel(), highest.ravel(), strict=True)
        )
        letters = ", ".join(f"{kind[0].upper()} {kind}" for kind in kinds)

        def table(values: np.ndarray, caption: str, cells: tuple[str, ...] = ()) -> Heat:
            return Heat(
                values=values,
                rows=layer_names(n_layer),
                columns=head_names(n_head),
                form="percent",
                high=1.0,
                cells=cells,
                what="score" if not cells else "",
                caption=caption,
            )

        pictures = {
            "highest": table(
                highest,
                f"The highest score of each head; · below {percent(self.threshold)}. {letters}.",
                cells,
            )
        }
        for kind, scores in self.scores.items():
            looked_at = HEAD_KINDS.get(kind, kind)
            pictures[kind] = table(scores, f"Share of attention that goes to {looked_at}.")
        lines = tuple(self._line(kind) for kind in kinds)
        return [
            Section(
                kind="HeadLabels",
                title="Head labels",
                how=f"What each head does on {self.period} random tokens said twice: the share of "
                "its attention that goes where a head of that kind looks. From "
                f"{percent(self.threshold)} on it gets the label.",
                pictures=(Tabs(pictures=pictures, caption="Score"), Lines(lines=lines)),
            )
        ]

    def _line(self, kind: str) -> str:
        """The heads of a kind in words, or the one that comes nearest."""
        named = [
            f"{head_name(x.layer, x.head)} {percent(x.score)}"
            for x in self.labels
            if x.label == kind
        ]
        if len(named) > _NAMED:
            named = [*named[:_NAMED], f"and {len(named) - _NAMED} more"]
        if not named:
            scores = self.scores[kind]
            layer, head = np.unravel_index(int(scores.argmax()), scores.shape)
            share = percent(float(scores[layer, head]))
            named = [f"none; the nearest is {head_name(int(layer), int(head))} {share}"]
        return f"{kind[0].upper()} {kind} ({HEAD_KINDS.get(kind, kind)}): {', '.join(named)}"


def attention(
    gpt: GPT,
    text: str | Sequence[int],
    *,
    layers: int | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
    budget_bytes: int = BUDGET,
) -> AttentionSummary:
    """The patterns of a text, all heads or some, within a budget (see `trace`)."""
    ids, _ = read(gpt, text)
    numbers = chosen(layers, gpt.hparams.n_layer, "layer")
    some = chosen(heads, gpt.hparams.n_head, "head")
    values = trace(gpt, ids, "attn.pattern", layers=numbers, heads=some, budget_bytes=budget_bytes)
    pattern = np.stack([values[f"blocks.{layer}.attn.pattern"] for layer in numbers])
    return summary(gpt, ids, numbers, some, pattern)


def summary(
    gpt: GPT,
    ids: tuple[int, ...],
    layers: tuple[int, ...],
    heads: tuple[int, ...],
    pattern: np.ndarray,
) -> AttentionSummary:
    """The same from patterns [layer, head, query, key] that a pass over the ids has made."""
    shape, n = pattern.shape[:2], len(ids)
    strongest = np.empty((*shape, n), np.int64)
    entropy, distance = np.empty((*shape, n)), np.empty((*shape, n))
    back = np.arange(n)[:, None] - np.arange(n)

    def measure(some: slice) -> None:
        for at in np.ndindex(*shape):
            seen = pattern[at][some, : some.stop]  # what comes later is not looked at
            log = np.log(np.where(seen > 0, seen, 1))
            strongest[at][some] = seen.argmax(-1)
            entropy[at][some] = -np.einsum("qk,qk->q", seen, log)
            distance[at][some] = np.einsum("qk,qk->q", seen, back[some, : some.stop])

    side_by_side(measure, n, _QUERIES, gpt.model.backend)
    return AttentionSummary(
        ids=ids,
        tokens=token_names(gpt, ids),
        text=whole(gpt, ids),
        layers=layers,
        heads=heads,
        pattern=pattern,
        strongest=strongest,
        entropy=entropy.mean(-1),
        distance=distance.mean(-1),
    )


def patterns_of(gpt: GPT, values: Mapping[str, Array]) -> np.ndarray:
    """The patterns of every head, [layer, head, query, key], from every layer's queries and keys
    as they are multiplied (`Family.query`, `key`), [batch, position, head, d_k]: those of a pass
    that writes them down, to the bit (where heads share keys, up to rounding).

    Few heads at a time, so that what leads to them fits a core's cache: in a pass it does not, and
    on 1,024 tokens of the 124M shape they take as long as all the rest.
    """
    n_layer, n_head, model = gpt.hparams.n_layer, gpt.hparams.n_head, gpt.model
    family, shared = family_of(gpt.hparams), n_head // gpt.hparams.n_kv_head
    out: np.ndarray | None = None
    for layer in range(n_layer):
        q, k = (values[f"blocks.{layer}.{name}"] for name in (family.query, family.key))
        for low in range(0, n_head, _HEADS):
            ends = low, min(low + _HEADS, n_head)
            some = slice(*ends)
            keys = some if shared == 1 else model.backend.ids([i // shared for i in range(*ends)])
            made = model.pattern(q[:, :, some], k[:, :, keys], layer)
            pattern = model.backend.to_numpy(made)[0]
            if out is None:
                out = np.empty((n_layer, n_head, *pattern.shape[1:]), pattern.dtype)
            _copy(pattern, out[layer, some], model.backend)
    assert out is not None
    return out


def _copy(pattern: np.ndarray, out: np.ndarray, backend: Backend) -> None:
    def one(heads: slice) -> None:
        out[heads] = pattern[heads]

    # The first touch of so much memory takes longer than the copy: by several cores.
    side_by_side(one, len(out), 1, backend)


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
    start = gpt.tokenizer.end_of_text if gpt.roles.bos is None else gpt.roles.bos
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
        HeadLabel(layer=int(layer), head=int(head), label=kind, score=float(table[layer, head]))
        for kind, table in scores.items()
        for layer, head in np.argwhere(table >= threshold)
    ]
    labels.sort(key=lambda each: -each.score)
    return HeadLabels(
        scores=scores, labels=tuple(labels), threshold=threshold, period=period, seed=seed
    )
