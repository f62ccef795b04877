"""What a family of models is, as facts: its parameters, its values, what its norms do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..hparams import HParams

__all__ = ["Branch", "Family", "TapInfo"]


class Branch(NamedTuple):
    """A place in the tree of weights that holds numbers: `path.weight` and perhaps `path.bias`.

    kind: "table" (embeddings, [row, n]), "positions" (a table that stays an array), "linear"
    ([in, out]), "norm" ([n]). shape: of the weight. bias: whether there is one, as long as the
    weight's last axis. deviation: of the normal numbers that a training begins with.
    """

    kind: Literal["table", "positions", "linear", "norm"]
    shape: tuple[int, ...]
    bias: bool = False
    deviation: float = 0.02


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


_INPUTS = {
    "attn.c_attn": "ln1.out",
    "attn.c_proj": "attn.z",
    "mlp.c_fc": "ln2.out",
    "mlp.c_proj": "mlp.post",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Whoever must know how one family differs from another asks its record.

    title: as people write it. hparams: the class of its hyperparameters. branches: every place of
    the tree of weights that holds numbers, in the order in which the data flows. taps: every value
    of a pass, by name with {i} for the layer, in the order in which it is computed. centres:
    whether a norm takes the mean away first (layer norm), or divides alone (RMS norm).
    query, key: the values that are multiplied, within a layer. inputs: what is multiplied with each
    linear map of a layer, both by their names within it. sizes: the shapes that have names.
    formats: in which a checkpoint is written.
    in_page: whether a web page can run it itself (web/machine/). encodes: whether it reads one
    text whole and writes another: an encoder and a decoder, and no `model.Page` of one stack.
    """

    title: str
    hparams: type[HParams]
    branches: Callable[[HParams], Mapping[str, Branch]]
    taps: Callable[[HParams], Mapping[str, TapInfo]]
    centres: bool = True
    query: str = "attn.q"
    key: str = "attn.k"
    inputs: Mapping[str, str] = field(default_factory=lambda: dict(_INPUTS))
    sizes: Mapping[str, HParams] = field(default_factory=dict)
    formats: tuple[str, ...] = ("pellucid", "hf", "gguf")
    in_page: bool = False
    encodes: bool = False
