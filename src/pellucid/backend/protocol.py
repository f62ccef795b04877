"""What the model asks of a machine: the few operations that machines do differently.

A backend's arrays need only the operators and methods that numpy and torch share (`+ * / @`,
indexing, `reshape`, `swapaxes`, `shape`); everything else goes through the operations named here.
Weights are whatever a backend makes of them once, when the model is loaded (`prepare`): only the
backend itself looks into them. Norms' gains, and biases, stay arrays.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = [
    "Array",
    "Backend",
    "KeyValues",
    "Norm",
    "Prepared",
    "Segment",
    "Turns",
    "taken_in",
    "turned",
]

Array = Any  # numpy.ndarray or torch.Tensor
# Of a norm: gain, bias, epsilon. A layer norm has a bias; one without is an RMS norm.
Norm = tuple[Array, Array | None, float]
# What turns queries and keys by where they stand, [batch or 1, new, d_k] each: x becomes x · cos +
# other(x) · sin, other(x) being the number half of d_k further on or back.
Turns = tuple[Array, Array]
Prepared = Any  # a linear map or a table of embeddings, as `Backend.prepare` returned it


class Place(NamedTuple):
    """Where keys and values lie: begin…end - 1 of arrays [head, key, d_k], as `Backend.to_cache`
    has them. Not yet cut out: at every token it is asked for of every layer."""

    keys: Array
    values: Array
    begin: int
    end: int

    @classmethod
    def whole(cls, keys: Array, values: Array) -> Place:
        return cls(keys, values, 0, keys.shape[1])


class Segment(NamedTuple):
    """New tokens of one sequence in a pass: n of them, at begin… of a row. places: where the keys
    and values of all its tokens up to and with these lie, in order; the last n are room for the
    new ones."""

    row: int
    begin: int
    n: int
    places: list[Place]

    @property
    def stretches(self) -> list[tuple[Array, Array]]:
        """Keys and values [head, key, d_k] each, in order, as they lie in memory."""
        return [(keys[:, low:high], values[:, low:high]) for keys, values, low, high in self.places]

    @property
    def n_key(self) -> int:
        return sum(place.end - place.begin for place in self.places)

    def last(self, n: int | None) -> Segment:
        """The same with the last n keys and values alone; None: with all."""
        if n is None:
            return self
        places: list[Place] = []
        missing = n
        for place in reversed(self.places):
            begin = max(place.begin, place.end - missing)
            places.insert(0, place._replace(begin=begin))
            missing -= place.end - begin
            if not missing:
                break
        return self._replace(places=places)

    def take_in(self, k: Array, v: Array) -> None:
        """k, v [batch, head, new, d_k], as they are kept: the new ones into their places."""
        end = self.begin + self.n
        for keys, values, low, high in reversed(self.places):
            n = min(high - low, end - self.begin)
            if not n:
                return
            keys[:, high - n : high] = k[self.row, :, end - n : end]
            values[:, high - n : high] = v[self.row, :, end - n : end]
            end -= n


class KeyValues(Protocol):
    """What a pass asks of a cache: `cache.Cache` is one, `blocks.Packed` another."""

    batch: int

    @property
    def past(self) -> np.ndarray:
        """Tokens before the next one: [1] where all rows agree, else [batch]."""

    def positions(self, new: int) -> np.ndarray:
        """Where in their texts the next tokens stand: [batch or 1, new]."""

    def check_room(self, tokens: int) -> None:
        """Raises ContextError when so many more tokens do not fit."""

    def append(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """k, v [batch, head, new, d_k] -> all so far, [batch, head, key, d_k]"""

    def segments(self, layer: int, new: int) -> list[Segment]:
        """Where all lies, without a copy, and where the new ones are to be put."""

    def advance(self, lengths: Any) -> None:
        """Count the tokens just taken in: one number, or one per row."""


def taken_in(cache: KeyValues, layer: int, k: Array, v: Array) -> list[Segment]:
    """k, v [batch, head, new, d_k], as they are kept, put into their places -> where all lies,
    without a copy."""
    segments = cache.segments(layer, k.shape[2])
    for each in segments:
        each.take_in(k, v)
    return segments


def turned(x: Array, turns: Turns) -> Array:
    """x [batch, head, new, d_k], the last of those that `turns` are for -> the same shape"""
    half = x.shape[3] // 2
    cos, sin = (each[:, None, -x.shape[2] :] for each in turns)
    return x * cos + x[..., [*range(half, 2 * half), *range(half)]] * sin


class Backend(Protocol):
    """The operations. `...` stands for any leading axes."""

    name: str

    def asarray(self, values: Any) -> Array:
        """Numbers in this backend's floating dtype and place; no copy where none is needed."""

    def ids(self, values: Any) -> Array:
        """Integers, for indexing."""

    def to_numpy(self, x: Array) -> np.ndarray:
        """The same values as numpy sees them (bfloat16 comes out as float32)."""

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Room for keys or values, as `to_cache` gives them. What is masked is still multiplied,
        by 0."""

    def to_cache(self, k: Array) -> Array:
        """Keys or values [..., d_k] as they are kept, perhaps smaller."""

    def from_cache(self, kept: Array) -> Array:
        """The numbers of what is kept, [..., d_k]."""

    def prepare(self, w: Any) -> Prepared:
        """A `weights.Affine` or `weights.Embedding` of any arrays -> as this backend computes
        with it, once, at load. A linear map keeps its `bias`, an array."""

    def dense(self, w: Prepared) -> Array:
        """The numbers of a prepared weight, to look at: [in, out], or a table's [row, n]."""

    def embedding(self, w: Prepared, ids: Array) -> Array:
        """A table [row, n], ids [...] -> [..., n]: look each id up in the dictionary."""

    def linear(
        self,
        x: Array,
        w: Prepared,
        *,
        norm: Norm | None = None,
        gelu: bool = False,
        swiglu: bool = False,
        add: Array | None = None,
    ) -> Array:
        """x [..., in] · weight [in, out] + bias [out] -> [..., out]

        norm: x goes through a norm first. gelu: what comes out, through GELU. swiglu: its second
        half, gated by the first. add [..., out]: is added last, to what `dropout` leaves. The same
        as those operations one by one.
        """

    def matmul(self, x: Array, y: Array | Prepared) -> Array:
        """x [batch, head, row, n] · y [batch, head, n, out] -> [batch, head, row, out]

        y may be the weight of a linear map, [head · n, out], without its bias: each head's rows.
        """

    def unembed(self, x: Array, w: Prepared) -> Array:
        """x [..., n] · tableᵀ [n, row] -> [..., row]"""

    def layer_norm(self, x: Array, gain: Array, bias: Array | None, epsilon: float) -> Array:
        """x [..., n] -> [..., n]: mean 0, deviation 1, then gain and bias. Without a bias, an RMS
        norm: the mean stays, x / √(mean(x²) + ε) · gain."""

    def mean(self, x: Array) -> Array:
        """[..., n] -> [..., 1]"""

    def sqrt(self, x: Array) -> Array: ...

    def gelu(self, x: Array) -> Array:
        """GPT-2's tanh form: ½x(1 + tanh(√(2/π)(x + 0.044715x³)))"""

    def swiglu(self, gate: Array, x: Array) -> Array:
        """[..., n] each -> [..., n]: gate · sigmoid(gate) · x (arXiv 2002.05202)"""

    def softmax(self, x: Array) -> Array:
        """Along the last axis."""

    def causal_mask(self, past: Array, n_query: int, n_key: int, reach: int | None = None) -> Array:
        """past [batch or 1] -> [batch or 1, 1, query, key]; True where key ≤ past + query, and
        among the last `reach` of these."""

    def hide(self, scores: Array, mask: Array | None) -> Array:
        """Scores where the mask is True, -∞ elsewhere; None: a copy of all."""

    def attend(
        self,
        q: Array,
        k: Array,
        v: Array,
        cache: KeyValues | None,
        layer: int,
        turns: Turns | None = None,
        reach: int | None = None,
    ) -> Array:
        """Fused softmax(q·kᵀ/√d_k + mask)·v over what the cache holds of this layer and the new
        keys and values, which it takes in. q [batch, head, new, d_k], k, v [batch, kv_head, new,
        d_k], each for as many heads of q, in order -> as q. turns: q and k are turned first; of
        fewer queries than keys by the last of them. reach: of the keys up to its own each query
        sees the last so many; None: all."""

    def dropout(self, x: Array) -> Array:
        """The identity, except while training."""

    def computing(self) -> AbstractContextManager[Any]:
        """Held around a forward pass: thread limits, gradients off."""
