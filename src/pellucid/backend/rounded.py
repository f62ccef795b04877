"""The numpy backend with rounded weights: what fewer bits cost, not what they save.

The numbers are those of kernels that compute with codes and bytes, in float32: slow, and to be
measured with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .numpy import NumpyBackend
from .protocol import Norm
from .rounding import quantise, rounded_inputs

__all__ = ["RoundedBackend"]


class RoundedBackend(NumpyBackend):
    """linear, head: the formats of `rounding` in which linear maps and the table of tokens, which
    is the output layer too, are kept; None: as they are. Biases, norms and positions stay."""

    def __init__(
        self, linear: str | None = None, head: str | None = None, threads: int | None = None
    ) -> None:
        super().__init__("float32", threads)
        self._linear, self._head = linear, head

    def prepare(self, w: Any) -> Any:
        weight = self.asarray(w.weight)
        if hasattr(w, "bias"):
            if self._linear is not None:
                weight = quantise(weight.T, self._linear).numbers().T
            return type(w)(weight, None if w.bias is None else self.asarray(w.bias))
        return type(w)(weight if self._head is None else quantise(weight, self._head).numbers())

    def linear(
        self,
        x: np.ndarray,
        w: Any,
        *,
        norm: Norm | None = None,
        gelu: bool = False,
        swiglu: bool = False,
        add: np.ndarray | None = None,
    ) -> np.ndarray:
        if self._linear is not None:
            x = rounded_inputs(x if norm is None else self.layer_norm(x, *norm), self._linear)
            norm = None
        return super().linear(x, w, norm=norm, gelu=gelu, swiglu=swiglu, add=add)

    def unembed(self, x: np.ndarray, w: Any) -> np.ndarray:
        return super().unembed(x if self._head is None else rounded_inputs(x, self._head), w)
