"""The tap: one hook through which every value of a forward pass is read or replaced.

A tap is any callable `(name, value) -> value`. Returning the value unchanged reads it,
returning another replaces it. Names follow TransformerLens, without its `hook_`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import groupby

from .backend import Array
from .families import FAMILIES, TapInfo, family_of
from .hparams import SIZES, HParams

__all__ = [
    "TAPS",
    "Tap",
    "TapInfo",
    "axes",
    "begins",
    "canonical_name",
    "compose",
    "last_names",
    "layer_of",
    "sizes",
    "table",
    "table_name",
    "tap_names",
    "transformer_lens_name",
    "untouched",
    "wants",
]

_LAYER = re.compile(r"\bblocks\.(\d+)\.")
_STACKS = ("encoder", "decoder")
_THEIRS = re.compile(r"^(encoder|decoder)\.(\d+)\.")  # how TransformerLens counts their layers

# It may carry `wants(name) -> bool`: what it does not want and the model does not need
# (`attn.result`, or the pattern where attention can be fused) is then not made. And
# `begins(positions)`: it is told where in their texts the tokens of the next pass stand.
Tap = Callable[[str, Array], Array]


def untouched(name: str, value: Array) -> Array:
    """The tap of a pass that nobody watches."""
    return value


def wants(tap: Tap, name: str) -> bool:
    """Whether a value that the pass can do without must be made for this tap."""
    if tap is untouched:
        return False
    asked = getattr(tap, "wants", None)
    return True if asked is None else bool(asked(name))


def begins(tap: Tap, positions: Array) -> None:
    """A pass begins; positions: where in their texts its tokens stand, [batch or 1, new]."""
    told = getattr(tap, "begins", None)
    if told is not None:
        told(positions)


class compose:
    """Several taps as one: each sees what the one before it returned."""

    def __init__(self, *taps: Tap) -> None:
        self.taps = taps

    def wants(self, name: str) -> bool:
        return any(wants(tap, name) for tap in self.taps)

    def begins(self, positions: Array) -> None:
        for tap in self.taps:
            begins(tap, positions)

    def __call__(self, name: str, value: Array) -> Array:
        for tap in self.taps:
            value = tap(name, value)
        return value


# GPT-2's values; another family's: `table`.
TAPS: dict[str, TapInfo] = dict(FAMILIES["gpt2"].taps(SIZES["gpt2"]))


def table(hparams: HParams) -> Mapping[str, TapInfo]:
    """Every value that can be seen and replaced in a model of this shape, in the order in which it
    is computed; {i} stands for the layer."""
    return family_of(hparams).taps(hparams)


def tap_names(hparams: HParams) -> list[str]:
    """Every tap's name in a model of this shape, in the order in which they are reached."""
    names: list[str] = []
    for stack, some in groupby(table(hparams), _stack):
        group = list(some)
        repeated = [name.format(i=i) for i in range(hparams.n_layer) for name in group]
        names += group if stack is None else repeated
    return names


def _stack(name: str) -> str | None:
    """What stands before "blocks.{i}": "", "encoder." or "decoder."; None outside the layers."""
    return name.partition("blocks.{i}")[0] if "{i}" in name else None


@cache
def last_names(hparams: HParams) -> tuple[str, ...]:
    """The values that are computed from the last layer on, but for the logits."""
    names = list(table(hparams))
    begin, end = names.index("blocks.{i}.resid_pre"), names.index("logits")
    return tuple(name.format(i=hparams.n_layer - 1) for name in names[begin:end])


def layer_of(name: str) -> int | None:
    """ "blocks.3.attn.q", "encoder.blocks.3.attn.q" -> 3; None for a value outside the layers."""
    found = _LAYER.search(name)
    return None if found is None else int(found[1])


def table_name(name: str) -> str:
    """ "blocks.3.attn.q" -> "blocks.{i}.attn.q", its entry in `table`."""
    return _LAYER.sub("blocks.{i}.", name, count=1)


def axes(name: str, hparams: HParams) -> tuple[str, ...]:
    """The axes of a value, batch first."""
    return table(hparams)[table_name(name)].axes


def sizes(hparams: HParams) -> dict[str, int]:
    """How long the axes are that are the same in every text."""
    return {
        "head": hparams.n_head,
        "kv_head": hparams.n_kv_head,
        "d_k": hparams.d_k,
        "n_embd": hparams.n_embd,
        "n_inner": hparams.n_inner,
        "4 · n_embd": hparams.n_inner,
        "n_vocab": hparams.n_vocab,
        "1": 1,
    }


def transformer_lens_name(name: str) -> str | None:
    """Our name → TransformerLens's full name; None where it has no such value.

    Of an encoder-decoder as its T5 has them: "decoder.blocks.0.cross.q" is
    "decoder.0.cross_attn.hook_q"; it adds no positions to embeddings, and has one `embed`.
    """
    *path, last = name.split(".")
    if last in ("qk", "logits"):
        return None
    if path and path[0] in _STACKS:
        if "blocks" not in path:
            return None
        path = ["cross_attn" if part == "cross" else part for part in path if part != "blocks"]
        last = "cross_attn_out" if last == "cross_out" else last
    last = "attn_scores" if last == "scores" else last
    return ".".join([*path, f"hook_{last}"])


def canonical_name(name: str) -> str:
    """Our name of a value, from ours or TransformerLens's ("blocks.0.attn.hook_q")."""
    name = _THEIRS.sub(r"\1.blocks.\2.", name.replace("hook_", "")).replace("cross_attn", "cross")
    return f"{name[: -len('attn_scores')]}scores" if name.endswith(".attn_scores") else name
