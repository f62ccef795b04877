"""What the memory of this machine holds: said before anything is allocated."""

from __future__ import annotations

from ..hparams import HParams

__all__ = ["KINDS", "needed"]

# Bytes of a number of a linear map and of the token embeddings, each group's scale among them, as
# the backends keep them; and of one in the cache of keys and values.
_STORED = {
    "float32": (4, 4, 4),
    "bfloat16": (2, 2, 2),
    "int8": (1 + 2 / 64, 1 + 2 / 64, 2),
    "int4": (1 / 2 + 2 / 32, 1 + 2 / 64, 2),
}
KINDS = (*_STORED, "training")


def needed(hparams: HParams, kind: str) -> float:
    """The least bytes that a model takes. kind: the dtype in which it runs, with the keys and
    values of one whole window; or "training": weights, gradients and two moments in float32,
    without what a batch takes."""
    if kind == "training":
        return 16.0 * hparams.n_params
    linear, table, cached = _STORED[kind]
    n_table = hparams.n_vocab * hparams.n_embd
    keys = 2 * hparams.n_layer * hparams.n_kv_head * hparams.d_k * hparams.n_ctx
    return linear * (hparams.n_params - n_table) + table * n_table + cached * keys
