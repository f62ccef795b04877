"""Which values there are by name, and what recording them takes: known before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from ..draw.notation import size
from ..draw.pictures import Bars, Section
from ..errors import InputError
from ..hparams import HParams
from ..taps import (
    axes,
    layer_of,
    sizes,
    table,
    table_name,
    tap_names,
    transformer_lens_name,
)
from .finding import Finding, chosen

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["BUDGET", "Cost", "Indices", "Names", "OverBudget", "cost_of", "estimate", "select"]

BUDGET = 1 << 30  # bytes that a trace may take unless another budget is given
_ON_REQUEST = ("attn.result",)  # large, and not needed by the model: only when asked for by name

Names = str | Iterable[str]
Indices = int | Iterable[int] | None


class OverBudget(InputError):
    """More would be recorded than may be. what: the same without how to raise the budget, for
    whoever cannot."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}, or raise the budget (budget_bytes)")
        self.what = what


def select(hparams: HParams, names: Names = "*", layers: Indices = None) -> list[str]:
    """The tap names that patterns choose, in the order in which they are reached.

    names: patterns with `*` and `?`, for the whole name ("blocks.3.attn.q"), for what follows
    the layer ("attn.q": in every layer) or for TransformerLens's name. `attn.result` is
    included only where a pattern spells out "result".
    layers: only these; values outside the layers (embed, logits) are then left out, unless
    a pattern is their very name. Raises InputError when a pattern matches nothing.
    """
    patterns = [names] if isinstance(names, str) else list(names)
    within = set(chosen(layers, hparams.n_layer, "layer"))
    selected: set[str] = set()
    for pattern in patterns:
        matching = [name for name in tap_names(hparams) if _matches(name, pattern)]
        if not matching:
            known = ", ".join(name.removeprefix("blocks.{i}.") for name in table(hparams))
            raise InputError(f"no value is called {pattern!r}; there are {known}")
        for name in matching:
            layer = layer_of(name)
            if layers is None or layer in within or (layer is None and pattern == name):
                selected.add(name)
    return [name for name in tap_names(hparams) if name in selected]


def _matches(name: str, pattern: str) -> bool:
    within_layer = table_name(name).removeprefix("blocks.{i}.")
    if within_layer in _ON_REQUEST and "result" not in pattern:
        return False
    known = (name, within_layer, transformer_lens_name(name) or name)
    return any(fnmatchcase(each, pattern) for each in known)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost(Finding):
    """What a trace takes. by_value: bytes per kind of value, all layers together, largest first."""

    n_values: int
    n_bytes: int
    by_value: dict[str, int]

    def sections(self) -> list[Section]:
        bars = Bars(
            labels=tuple(self.by_value),
            values=np.asarray(list(self.by_value.values()), float),
            form="bytes",
        )
        return [
            Section(
                kind="Cost",
                title="Cost of a trace",
                how=f"What recording {self.n_values} values takes: {size(self.n_bytes)} "
                f"({self.n_bytes:,} bytes).",
                pictures=(bars,),
            )
        ]

    def check(self, budget_bytes: int) -> None:
        """Raises OverBudget when it is over the budget."""
        if self.n_bytes <= budget_bytes:
            return
        largest = ", ".join(f"{k} {size(v)}" for k, v in list(self.by_value.items())[:3])
        raise OverBudget(
            f"recording {self.n_values} values takes {size(self.n_bytes)}, more than the budget "
            f"of {size(budget_bytes)} (largest: {largest}): choose fewer with names, layers, "
            f"heads or positions"
        )


def estimate(
    gpt: GPT,
    text: str | Sequence[int] | int,
    names: Names = "*",
    *,
    layers: Indices = None,
    heads: Indices = None,
    positions: Indices = None,
) -> Cost:
    """What `trace` with the same arguments would take, without running anything.

    text: a text, ids, or a number of tokens.
    """
    n_tokens = text if isinstance(text, int) else len(gpt.encode(text))
    n_head = len(chosen(heads, gpt.hparams.n_head, "head"))
    places = chosen(positions, n_tokens, "position")
    n, n_key = len(places), max(places, default=0) + 1
    return cost_of(gpt, select(gpt.hparams, names, layers), n_head, n, n_key, n)


def cost_of(
    gpt: GPT, names: list[str], n_head: int, n_position: int, n_key: int, n_logits: int
) -> Cost:
    """n_logits: positions whose logits are computed."""
    hparams = gpt.hparams
    itemsize = int(gpt.model.backend.asarray([0.0]).itemsize)
    lengths = sizes(hparams) | {
        "position": n_position,
        "query": n_position,
        "key": n_key,
        "head": n_head,
    }
    by_value: dict[str, int] = {}
    for name in names:
        numbers = 1
        for axis in axes(name, hparams)[1:]:
            many = n_logits if name == "logits" and axis == "position" else lengths.get(axis, 1)
            numbers *= many
        kind = table_name(name).removeprefix("blocks.{i}.")
        by_value[kind] = by_value.get(kind, 0) + numbers * itemsize
    ranked = dict(sorted(by_value.items(), key=lambda item: -item[1]))
    return Cost(n_values=len(names), n_bytes=sum(by_value.values()), by_value=ranked)
