"""GPT-2's operations on quantised weights, compiled: `src/` has them, `pellucid.backend.native`
calls them."""

from ._kernels import (
    again,
    attend,
    choose,
    chosen,
    columns,
    fill,
    gelu,
    heads,
    kernels,
    layer_norm,
    linear,
    matmul,
    program,
    sizes,
    softmax,
    weight,
)

PROTOCOL = 4  # of what they take; pellucid asks for one that it knows

__all__ = [
    "PROTOCOL",
    "again",
    "attend",
    "choose",
    "chosen",
    "columns",
    "fill",
    "gelu",
    "heads",
    "kernels",
    "layer_norm",
    "linear",
    "matmul",
    "program",
    "sizes",
    "softmax",
    "weight",
]
