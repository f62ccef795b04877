"""One text seen from every side: what is shown together on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..draw.pictures import Distribution, Heat, Section, Tabs
from ..families import family_of
from ..taps import compose
from ..visible import quoted
from .attribution import Attribution, attributed, row_names
from .cost import BUDGET, estimate
from .finding import Finding, chosen, highest, layer_names, read, shortened, token_names, whole
from .lens import LogitLens, read_out
from .patterns import AttentionSummary, HeadLabels, head_labels, patterns_of, summary
from .recorder import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT
    from ..hparams import HParams

__all__ = ["Prediction", "ResidualNorms", "View", "prediction", "residual_norms", "view"]

_STREAMS = ("resid_post", "attn_out", "mlp_out")
_LENS_NUMBERS = 3 << 23  # logits that the lens computes: half a second on two cores


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Finding):
    """What follows `position`. text: up to there. logits [n_vocab]: the model's own. top_ids,
    top_tokens [k]: the likeliest tokens, likeliest first."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    position: int
    logits: np.ndarray
    top_ids: tuple[int, ...]
    top_tokens: tuple[str, ...]

    def sections(self) -> list[Section]:
        likeliest = Distribution(logits=self.logits, ids=self.top_ids, texts=self.top_tokens)
        return [
            Section(
                kind="Prediction",
                title="Next token",
                how=f"What may follow {quoted(self.tokens[self.position])}, and how likely.",
                about=shortened(self.text),
                pictures=(likeliest,),
            )
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualNorms(Finding):
    """Lengths (Euclidean norms) in the residual stream of one text.

    layers: "embed", then "0", "1", … stream [n_layer + 1, position]: as it enters layer 0, then
    after each layer. attention, mlps [n_layer, position]: what each layer's two parts add to it.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    layers: tuple[str, ...]
    stream: np.ndarray
    attention: np.ndarray
    mlps: np.ndarray

    def sections(self) -> list[Section]:
        layers = layer_names(len(self.layers) - 1)

        def table(values: np.ndarray, rows: tuple[str, ...], caption: str) -> Heat:
            return Heat(
                values=values,
                rows=rows,
                columns=self.tokens,
                tokens=True,
                what="norm",
                caption=caption,
            )

        pictures = {
            "stream": table(self.stream, ("embed", *layers), "The stream as it leaves each layer."),
            "attention": table(self.attention, layers, "What each layer's attention adds to it."),
            "MLP": table(self.mlps, layers, "What each layer's MLP adds to it."),
        }
        return [
            Section(
                kind="ResidualNorms",
                title="Residual stream",
                how="How long each token's vector is after each layer (Euclidean norm). It usually "
                "grows; the first token's is often far longer than the rest.",
                about=shortened(self.text),
                pictures=(Tabs(pictures=pictures, caption="Of"),),
            )
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class View(Finding):
    """The answers about one text together. labels: None where the window is too small."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    prediction: Prediction
    attention: AttentionSummary
    lens: LogitLens
    attribution: Attribution
    norms: ResidualNorms
    labels: HeadLabels | None

    def sections(self) -> list[Section]:
        return [
            *self.prediction.sections(),
            *self.attention.sections(labels=self.labels),
            *self._lens(),
            *self.attribution.sections(),
            *self.norms.sections(),
            *([] if self.labels is None else self.labels.sections()),
        ]

    def _lens(self) -> list[Section]:
        n, first = len(self.ids), self.lens.positions[0]
        if not first:
            return self.lens.sections()
        note = (
            f"Of {n} positions the last {n - first} are read out, from {first} on. For others ask "
            "for them alone: `pellucid lens --position 0-9`, or logit_lens(gpt, text, "
            "positions=range(10))."
        )
        return [replace(each, notes=(*each.notes, note)) for each in self.lens.sections()]


def prediction(
    gpt: GPT, text: str | Sequence[int], *, position: int = -1, k: int = 50
) -> Prediction:
    """The distribution over the next token, and the texts of its k likeliest."""
    ids, _ = read(gpt, text)
    (here,) = chosen(position, len(ids), "position")
    logits = gpt.forward(ids[: here + 1], last_only=True)[-1]
    return predicted(gpt, ids, here, gpt.model.backend.to_numpy(logits), k=k)


def predicted(
    gpt: GPT, ids: tuple[int, ...], here: int, logits: np.ndarray, *, k: int = 50
) -> Prediction:
    """The same from the position's logits [n_vocab]."""
    top = tuple(int(i) for i in highest(logits, k))
    return Prediction(
        ids=ids,
        tokens=token_names(gpt, ids),
        text=whole(gpt, ids[: here + 1]),
        position=here,
        logits=logits,
        top_ids=top,
        top_tokens=token_names(gpt, top),
    )


def residual_norms(gpt: GPT, text: str | Sequence[int]) -> ResidualNorms:
    """How long the residual stream is at every layer and position, and what is added to it."""
    ids, _ = read(gpt, text)
    first = Recorder(gpt, "blocks.0.resid_pre", budget_bytes=1 << 62)
    later = Recorder(gpt, _STREAMS, budget_bytes=1 << 62)
    gpt.forward([ids], tap=compose(first, later), last_only=True)
    return norms_of(gpt, ids, first.passes[0] | later.passes[0])


def norms_of(gpt: GPT, ids: tuple[int, ...], values: Mapping[str, Array]) -> ResidualNorms:
    """The same from what a pass over the ids has made: the first layer's input, and every
    layer's attn_out, mlp_out and resid_post, [batch, position, n_embd]."""
    n_layer, to_numpy = gpt.hparams.n_layer, gpt.model.backend.to_numpy

    def length(name: str) -> np.ndarray:
        return np.asarray(np.linalg.norm(to_numpy(values[name])[0], axis=-1))

    def each_layer(name: str) -> list[np.ndarray]:
        return [length(f"blocks.{i}.{name}") for i in range(n_layer)]

    return ResidualNorms(
        ids=ids,
        tokens=token_names(gpt, ids),
        text=whole(gpt, ids),
        layers=("embed", *(str(i) for i in range(n_layer))),
        stream=np.stack([length("blocks.0.resid_pre"), *each_layer("resid_post")]),
        attention=np.stack(each_layer("attn_out")),
        mlps=np.stack(each_layer("mlp_out")),
    )


def view(
    gpt: GPT,
    text: str | Sequence[int],
    target: str | int | None = None,
    *,
    versus: str | int | None = None,
    labels: bool = True,
    budget_bytes: int = BUDGET,
) -> View:
    """Prediction, attention, logit lens, attribution and residual norms of one text, from one
    pass over it. Of a long text the lens reads the last positions, and says so.

    target, versus: of the attribution (see `attribute`). labels: also measure what the heads do
    in general. budget_bytes: of the attention patterns (see `trace`).
    """
    ids, tokens = read(gpt, text)
    estimate(gpt, ids, "attn.pattern").check(budget_bytes)
    hparams, model = gpt.hparams, gpt.model
    family, here = family_of(hparams), len(ids) - 1
    names = ["blocks.0.resid_pre", *_STREAMS, family.query, family.key, "attn.v"]
    row = Recorder(
        gpt, set(row_names(hparams)) - {"attn.pattern"}, positions=here, budget_bytes=1 << 62
    )
    rows = Recorder(gpt, names, budget_bytes=1 << 62)
    positions = tuple(range(max(0, len(ids) - _read_out(hparams)), len(ids)))
    all_of_them = len(positions) == len(ids)
    logits = gpt.forward([ids], tap=compose(row, rows), last_only=not all_of_them)[0]
    values = rows.passes[0]
    ends = (f"blocks.{layer}.resid_post" for layer in range(hparams.n_layer))
    streams = [values[name] for name in ("blocks.0.resid_pre", *ends)]
    own = model.backend.to_numpy(logits[-1])
    if not all_of_them:
        logits = model.readout(streams[-1][:, model.backend.ids(list(positions))])[0]
    pattern = patterns_of(gpt, values)
    last = {
        f"blocks.{layer}.attn.pattern": pattern[None, layer, :, here:]
        for layer in range(hparams.n_layer)
    }
    layers, heads = tuple(range(hparams.n_layer)), tuple(range(hparams.n_head))
    fits = hparams.n_ctx >= 5 and hparams.n_vocab >= 3
    return View(
        ids=ids,
        tokens=tokens,
        prediction=predicted(gpt, ids, here, own),
        attention=summary(gpt, ids, layers, heads, pattern),
        lens=read_out(gpt, ids, positions, streams, model.backend.to_numpy(logits)),
        attribution=attributed(
            gpt, ids, row.passes[0] | last, values, target, versus=versus, position=here
        ),
        norms=norms_of(gpt, ids, values),
        labels=head_labels(gpt) if labels and fits else None,
    )


def _read_out(hparams: HParams) -> int:
    """At how many positions the lens reads: all, unless that would take longer than the rest."""
    return max(1, _LENS_NUMBERS // ((hparams.n_layer + 1) * hparams.n_vocab))
