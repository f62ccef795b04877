"""GPT-2's operations on quantised weights, compiled: `src/` has them, `pellucid.backend.native`
calls them."""

from ._kernels import (
    attend,
    choose,
    chosen,
    columns,
    fill,
    gelu,
    kernels,
    layer_norm,
    linear,
    matmul,
    sizes,
    softmax,
    weight,
)

__all__ = [
    "attend",
    "choose",
    "chosen",
    "columns",
    "fill",
    "gelu",
    "kernels",
    "layer_norm",
    "linear",
    "matmul",
    "sizes",
    "softmax",
    "weight",
]
