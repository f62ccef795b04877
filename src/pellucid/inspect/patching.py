"""Activation patching: put values of a run on one prompt into a run on another.

Where that carries the answer across is where the model holds it. Sources: Meng et al.,
arXiv 2202.05262 (causal tracing); Wang et al., arXiv 2211.00593.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..draw.notation import Form, head_name, written
from ..draw.pictures import Bars, Heat, Picture, Section, Tabs
from ..errors import InputError
from ..taps import axes
from ..visible import quoted, visible
from .cost import select
from .edits import Counter, Edits, Progress, edited_copies
from .finding import (
    Finding,
    chosen,
    head_names,
    layer_names,
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

__all__ = ["Patching", "patch", "patch_each"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Patching(Finding):
    """Values of `source` put one at a time into the run on `base`.

    over: "positions": the residual stream as it enters each layer, arrays are [layer, position];
    "heads": each head's z at all positions, [layer, head].
    target, versus: metric is logit(target) - logit(versus) at the last position, or the logit
    alone where versus is None. source_metric, base_metric: of the two runs untouched.
    """

    source_ids: tuple[int, ...]
    source_tokens: tuple[str, ...]
    source_text: str
    base_ids: tuple[int, ...]
    base_tokens: tuple[str, ...]
    base_text: str
    over: Literal["positions", "heads"]
    target_id: int
    target: str
    versus_id: int | None
    versus: str | None
    source_metric: float
    base_metric: float
    metric: np.ndarray

    @property
    def recovered(self) -> np.ndarray:
        """0: as in the base, 1: as in the source. Not a number where both agree anyway."""
        gap = self.source_metric - self.base_metric
        if gap == 0:
            return np.full(self.metric.shape, np.nan)
        return np.asarray((self.metric - self.base_metric) / gap)

    def strongest(self, n: int = 5) -> list[tuple[tuple[int, ...], float]]:
        """The n patches that move the metric furthest towards the source: (index, recovered)."""
        recovered = self.recovered
        order = np.argsort(-recovered, axis=None, kind="stable")[:n]
        places = [np.unravel_index(int(i), recovered.shape) for i in order]
        return [(tuple(int(i) for i in at), float(recovered[at])) for at in places]

    def sections(self) -> list[Section]:
        n_layer, n = self.metric.shape
        over_heads = self.over == "heads"
        columns = head_names(n)
        if not over_heads:
            pairs = zip(self.source_tokens, self.base_tokens, strict=True)
            columns = tuple(b if s == b else f"{s}/{b}" for s, b in pairs)
        over = "" if self.versus is None else f" over {quoted(self.versus)}"

        def table(values: np.ndarray, form: Form, what: str, caption: str) -> Heat:
            return Heat(
                values=values,
                rows=layer_names(n_layer),
                columns=columns,
                scale="diverging",
                form=form,
                tokens=not over_heads,
                high=1.0 if form == "percent" else None,
                what=what,
                caption=caption,
            )

        metric = table(
            self.metric,
            "number",
            "metric",
            f"The logit of {quoted(self.target)}{over} itself.",
        )
        shown: tuple[Picture, ...] = (metric,)
        notes: tuple[str, ...] = (
            "The two prompts give the same answer: there is nothing to bring back.",
        )
        if self.source_metric != self.base_metric:
            notes = ()
            recovered = table(
                self.recovered,
                "percent",
                "recovered",
                "0%: as in the base. 100% (blue): the source's answer is back.",
            )
            tabs = Tabs(pictures={"recovered": recovered, "metric": metric}, caption="Show")
            ranked = self.strongest()
            strongest = Bars(
                labels=tuple(
                    head_name(at[0], at[1]) if over_heads else f"L{at[0]} {visible(columns[at[1]])}"
                    for at, _ in ranked
                ),
                values=np.asarray([share for _, share in ranked]),
                form="percent",
                caption="Strongest",
            )
            shown = (tabs, strongest)
        what = "each head's output" if over_heads else "the residual stream at each position"
        source, base = shortened(self.source_text), shortened(self.base_text)
        return [
            Section(
                kind="Patching",
                title="Activation patching",
                how=f"Into the run on the base, {what} is put as it was on the source, one place "
                "at a time. Where that brings the source's answer back, there the model holds it. "
                f"The logit of {quoted(self.target)}{over} is "
                f"{written(self.source_metric, 'signed')} in the source, "
                f"{written(self.base_metric, 'signed')} in the base.",
                about=f"{source}  →  {base}",
                pictures=shown,
                notes=notes,
            )
        ]


def patch(
    gpt: GPT,
    source: str | Sequence[int],
    base: str | Sequence[int],
    names: str | Iterable[str] = "resid_pre",
    *,
    layers: int | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
    positions: int | Iterable[int] | None = None,
) -> np.ndarray:
    """The base's logits [position, n_vocab] with the named values of the source put in.

    names, layers: see `select`. heads, positions: only these; of values that several heads of
    queries share, heads counts the heads of keys. Raises InputError when the two differ in length.
    """
    source_ids, base_ids = _pair(gpt, source, base)
    backend, hparams = gpt.model.backend, gpt.hparams
    patched = select(hparams, names, layers)
    at = backend.ids(chosen(positions, len(base_ids), "position"))
    recorder = Recorder(gpt, patched, budget_bytes=1 << 62)
    gpt.forward([source_ids], tap=recorder)
    stored = recorder.passes[0]

    def put(name: str, value: Array) -> Array:
        value, source_value, own = value * 1, stored[name], axes(name, hparams)  # a copy
        place: tuple[Any, ...] = (slice(None), at)
        for axis in {"head", "kv_head"} & set(own):
            n_head = hparams.n_head if axis == "head" else hparams.n_kv_head
            some = backend.ids(chosen(heads, n_head, "head"))
            first = own.index(axis) == 1  # else positions come first
            place = (slice(None), some[:, None], at) if first else (slice(None), at[:, None], some)
        value[place] = source_value[place]
        return value

    edits = Edits(gpt, {name: lambda value, name=name: put(name, value) for name in patched})  # type: ignore[misc]
    return np.asarray(backend.to_numpy(gpt.forward([base_ids], tap=edits))[0])


def patch_each(
    gpt: GPT,
    source: str | Sequence[int],
    base: str | Sequence[int],
    over: Literal["positions", "heads"] = "positions",
    *,
    target: str | int | None = None,
    versus: str | int | None = None,
    progress: Progress | None = None,
) -> Patching:
    """Patch every layer × position, or every layer × head, each alone, in batches.

    target: default the source's likeliest next token; versus: default the base's, where that
    is another. progress: told (done, of how many) after each batch; what it raises ends the
    sweep. Raises InputError when the two differ in length.
    """
    if over not in ("positions", "heads"):
        raise InputError(f"over must be positions or heads, not {over!r}")
    source_ids, base_ids = _pair(gpt, source, base)
    hparams, backend = gpt.hparams, gpt.model.backend
    what = "resid_pre" if over == "positions" else "attn.z"
    source_values = Recorder(gpt, what, budget_bytes=1 << 62)
    streams = Recorder(gpt, "resid_pre", budget_bytes=1 << 62)
    to_numpy = backend.to_numpy
    source_logits = to_numpy(gpt.forward([source_ids], tap=source_values, last_only=True))[0, 0]
    base_logits = to_numpy(gpt.forward([base_ids], tap=streams, last_only=True))[0, 0]

    target_id = int(source_logits.argmax()) if target is None else token_id(gpt, target)
    versus_id = None if versus is None else token_id(gpt, versus)
    if versus_id is None and target is None and int(base_logits.argmax()) != target_id:
        versus_id = int(base_logits.argmax())

    def metric(logits: np.ndarray) -> np.ndarray:
        exact = np.asarray(logits, np.float64)
        other = 0.0 if versus_id is None else exact[..., versus_id]
        return np.asarray(exact[..., target_id] - other)

    n = len(base_ids) if over == "positions" else hparams.n_head
    counter = Counter(progress, hparams.n_layer * n)
    metrics = []
    for layer in range(hparams.n_layer):
        name = f"blocks.{layer}.{what}"
        values = source_values.passes[0][name][0]  # [position, …]

        def put(value: Array, rows: Array, places: Array, values: Array = values) -> None:
            if over == "positions":
                value[rows, places] = values[places]
            else:
                value[rows, :, places] = values[:, places].swapaxes(0, 1)

        x = streams.passes[0][f"blocks.{layer}.resid_pre"]
        metrics.append(metric(edited_copies(gpt.model, x, layer, name, n, put, counter)))
    return Patching(
        source_ids=source_ids,
        source_tokens=token_names(gpt, source_ids),
        source_text=whole(gpt, source_ids),
        base_ids=base_ids,
        base_tokens=token_names(gpt, base_ids),
        base_text=whole(gpt, base_ids),
        over=over,
        target_id=target_id,
        target=token_name(gpt, target_id),
        versus_id=versus_id,
        versus=None if versus_id is None else token_name(gpt, versus_id),
        source_metric=float(metric(source_logits)),
        base_metric=float(metric(base_logits)),
        metric=np.stack(metrics),
    )


def _pair(
    gpt: GPT, source: str | Sequence[int], base: str | Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    (source_ids, source_tokens), (base_ids, base_tokens) = read(gpt, source), read(gpt, base)
    if len(source_ids) != len(base_ids):
        names = (", ".join(map(quoted, tokens)) for tokens in (source_tokens, base_tokens))
        raise InputError(
            f"the prompts have {len(source_ids)} and {len(base_ids)} tokens, "
            f"{' and '.join(names)}: patching needs as many in both, because values are put in "
            "position by position"
        )
    return source_ids, base_ids
