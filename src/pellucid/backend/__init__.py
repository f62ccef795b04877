"""The few operations that machines do differently, once per machine.

`model.py` is written against the `Backend` protocol below. A backend's arrays need only the
operators and methods that numpy and torch share (`+ * / @`, indexing, `reshape`, `swapaxes`,
`shape`); everything else goes through the operations named here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ..errors import InputError

__all__ = ["BACKENDS", "Array", "Backend", "get_backend"]

Array = Any  # numpy.ndarray or torch.Tensor

BACKENDS = ("numpy", "torch")


class Backend(Protocol):
    """What the model asks of a machine. `...` stands for any leading axes."""

    name: str

    def asarray(self, values: Any) -> Array:
        """Numbers in this backend's floating dtype and place; no copy where none is needed."""

    def ids(self, values: Any) -> Array:
        """Integers, for indexing."""

    def to_numpy(self, x: Array) -> np.ndarray:
        """The same values as numpy sees them (bfloat16 comes out as float32)."""

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Room for numbers. Not merely reserved: what is masked is still multiplied, by 0."""

    def copy(self, x: Array) -> Array: ...

    def embedding(self, table: Array, ids: Array) -> Array:
        """table [row, n], ids [...] -> [..., n]: look each id up in the dictionary."""

    def linear(self, x: Array, weight: Array, bias: Array) -> Array:
        """x [..., in] · weight [in, out] + bias [out] -> [..., out]"""

    def matmul(self, x: Array, y: Array) -> Array:
        """x [batch, head, row, n] · y [batch, head, n, out] -> [batch, head, row, out]"""

    def unembed(self, x: Array, table: Array) -> Array:
        """x [..., n] · tableᵀ [n, row] -> [..., row]"""

    def layer_norm(self, x: Array, gain: Array, bias: Array, epsilon: float) -> Array:
        """x [..., n] -> [..., n]: mean 0, deviation 1, then gain and bias."""

    def mean(self, x: Array) -> Array:
        """[..., n] -> [..., 1]"""

    def sqrt(self, x: Array) -> Array: ...

    def gelu(self, x: Array) -> Array:
        """GPT-2's tanh form: ½x(1 + tanh(√(2/π)(x + 0.044715x³)))"""

    def softmax(self, x: Array) -> Array:
        """Along the last axis."""

    def causal_mask(self, past: Array, n_query: int, n_key: int) -> Array:
        """past [batch or 1] -> [batch or 1, 1, query, key]; True where key ≤ past + query."""

    def hide(self, scores: Array, mask: Array) -> Array:
        """Scores where the mask is True, -∞ elsewhere."""

    def attention(self, q: Array, k: Array, v: Array, past: Array) -> Array:
        """Fused softmax(q·kᵀ/√d_k + mask)·v. q [batch, head, query, d_k], k and v
        [batch, head, key, d_k] -> [batch, head, query, d_k]"""

    def dropout(self, x: Array) -> Array:
        """The identity, except while training."""

    def apply(self, function: Callable[..., Array], weights: Any, x: Array, *rest: Any) -> Array:
        """function(x, weights, *rest); training wraps it (sharding, recomputation)."""

    def computing(self) -> AbstractContextManager[Any]:
        """Held around a forward pass: thread limits, gradients off."""


def get_backend(
    name: str = "numpy",
    *,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> Backend:
    """A backend by name.

    name: "numpy" or "torch". device: torch's name of a device ("cpu", "cuda"); numpy has only
    "cpu". dtype: "float32" (default), "float64", with torch also "bfloat16". threads: how many
    cores to use (default: those this process may run on).
    Raises InputError when the combination does not exist or torch is not installed.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if name == "numpy":
        from .numpy import NumpyBackend

        if device not in (None, "cpu"):
            raise InputError(f"the numpy backend runs on the CPU; for {device!r} use backend torch")
        return NumpyBackend(dtype or "float32", threads)
    if name == "torch":
        try:
            from .torch import TorchBackend
        except ImportError as error:
            raise InputError(
                'the torch backend needs PyTorch: pip install "pellucid[torch]"'
            ) from error
        return TorchBackend(device or "cpu", dtype or "float32", threads)
    raise InputError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")
