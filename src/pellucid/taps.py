"""The tap: one hook through which every value of a forward pass is read or replaced.

A tap is any callable `(name, value) -> value`. Returning the value unchanged reads it,
returning another replaces it. Names follow TransformerLens, without its `hook_`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from .backend import Array
from .hparams import HParams

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
    "table_name",
    "tap_names",
    "transformer_lens_name",
    "untouched",
    "wants",
]

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


@dataclass(frozen=True, slots=True)
class TapInfo:
    """What stands behind a tap's name: for the docs, the terminal and the web page.

    axes: of the value, batch first; "1" and "1 or batch" are lengths. slide: the step of the talk
    that it belongs to.
    """

    axes: tuple[str, ...]
    formula: str
    slide: str

    @property
    def shape(self) -> str:
        """As people write it: "[batch, position, n_embd]"."""
        return f"[{', '.join(self.axes)}]"


_RESIDUAL = ("batch", "position", "n_embd")
_PER_HEAD = ("batch", "position", "head", "d_k")
_PAIRS = ("batch", "head", "query", "key")
_NEURONS = ("batch", "position", "4 · n_embd")
_SCALE = ("batch", "position", "1")

# Every value that can be seen and replaced, in the order in which it is computed.
TAPS: dict[str, TapInfo] = {
    "embed": TapInfo(_RESIDUAL, "wte[token]", "tokens => embeddings"),
    "pos_embed": TapInfo(
        ("1 or batch", "position", "n_embd"), "wpe[position]", "tokens => embeddings"
    ),
    "blocks.{i}.resid_pre": TapInfo(_RESIDUAL, "x", "embeddings, layer by layer"),
    "blocks.{i}.ln1.scale": TapInfo(_SCALE, "√(var(x) + ε)", "self-attention"),
    "blocks.{i}.ln1.normalized": TapInfo(_RESIDUAL, "(x - mean(x)) / scale", "self-attention"),
    "blocks.{i}.ln1.out": TapInfo(_RESIDUAL, "normalized · gain + bias", "self-attention"),
    "blocks.{i}.attn.q": TapInfo(_PER_HEAD, "W_Query · x", "self-attention"),
    "blocks.{i}.attn.k": TapInfo(_PER_HEAD, "W_Key · x", "self-attention"),
    "blocks.{i}.attn.v": TapInfo(_PER_HEAD, "W_Value · x", "self-attention"),
    "blocks.{i}.attn.qk": TapInfo(_PAIRS, "q · kᵀ / √d_k", "self-attention"),
    "blocks.{i}.attn.scores": TapInfo(_PAIRS, "qk, later keys -∞", "self-attention"),
    "blocks.{i}.attn.pattern": TapInfo(_PAIRS, "softmax(scores)", "self-attention"),
    "blocks.{i}.attn.z": TapInfo(_PER_HEAD, "pattern · v", "heads"),
    "blocks.{i}.attn.result": TapInfo(
        ("batch", "position", "head", "n_embd"), "z · W_Output of the head", "concat · W_Output"
    ),
    "blocks.{i}.attn_out": TapInfo(_RESIDUAL, "concat(z) · W_Output + bias", "concat · W_Output"),
    "blocks.{i}.resid_mid": TapInfo(_RESIDUAL, "resid_pre + attn_out", "concat · W_Output"),
    "blocks.{i}.ln2.scale": TapInfo(_SCALE, "√(var(x) + ε)", "repeat for each layer"),
    "blocks.{i}.ln2.normalized": TapInfo(
        _RESIDUAL, "(x - mean(x)) / scale", "repeat for each layer"
    ),
    "blocks.{i}.ln2.out": TapInfo(_RESIDUAL, "normalized · gain + bias", "repeat for each layer"),
    "blocks.{i}.mlp.pre": TapInfo(_NEURONS, "x · W_fc + bias", "repeat for each layer"),
    "blocks.{i}.mlp.post": TapInfo(
        _NEURONS, "½x(1 + tanh(√(2/π)(x + 0.044715x³)))", "repeat for each layer"
    ),
    "blocks.{i}.mlp_out": TapInfo(_RESIDUAL, "post · W_proj + bias", "repeat for each layer"),
    "blocks.{i}.resid_post": TapInfo(_RESIDUAL, "resid_mid + mlp_out", "repeat for each layer"),
    "ln_final.scale": TapInfo(_SCALE, "√(var(x) + ε)", "output layer"),
    "ln_final.normalized": TapInfo(_RESIDUAL, "(x - mean(x)) / scale", "output layer"),
    "ln_final.out": TapInfo(_RESIDUAL, "normalized · gain + bias", "output layer"),
    "logits": TapInfo(("batch", "position", "n_vocab"), "x · wteᵀ", "output layer"),
}


def tap_names(hparams: HParams) -> list[str]:
    """Every tap's name in a model of this shape, in the order in which they are reached."""
    names = list(TAPS)
    in_block = [name for name in names if "{i}" in name]
    first, last = names.index(in_block[0]), names.index(in_block[-1]) + 1
    layers = [name.format(i=i) for i in range(hparams.n_layer) for name in in_block]
    return names[:first] + layers + names[last:]


@cache
def last_names(layer: int) -> tuple[str, ...]:
    """The values that are computed from the last layer on, but for the logits."""
    names = list(TAPS)
    begin, end = names.index("blocks.{i}.resid_pre"), names.index("logits")
    return tuple(name.format(i=layer) for name in names[begin:end])


def layer_of(name: str) -> int | None:
    """ "blocks.3.attn.q" -> 3; None for a value outside the layers."""
    return int(name.split(".")[1]) if name.startswith("blocks.") else None


def table_name(name: str) -> str:
    """ "blocks.3.attn.q" -> "blocks.{i}.attn.q", its entry in `TAPS`."""
    layer = layer_of(name)
    return name if layer is None else name.replace(f"blocks.{layer}.", "blocks.{i}.", 1)


def axes(name: str) -> tuple[str, ...]:
    """The axes of a value, batch first."""
    return TAPS[table_name(name)].axes


def transformer_lens_name(name: str) -> str | None:
    """Our name → TransformerLens's full name; None where it has no such value."""
    *path, last = name.split(".")
    if last in ("qk", "logits"):
        return None
    last = "attn_scores" if last == "scores" else last
    return ".".join([*path, f"hook_{last}"])


def canonical_name(name: str) -> str:
    """Our name of a value, from ours or TransformerLens's ("blocks.0.attn.hook_q")."""
    name = name.replace("hook_", "")
    return f"{name[: -len('attn_scores')]}scores" if name.endswith("attn.attn_scores") else name
