"""GPT-3 (arXiv 2005.14165): GPT-2, but that every second layer sees a band of keys alone.

"We use the same model and architecture as GPT-2 [...] with the exception that we use alternating
dense and locally banded sparse attention patterns in the layers" (§2.1), "similar to the Sparse
Transformer" (arXiv 1904.10509). There a query sees the last keys, its own among them, as many as
the band is wide (openai/sparse_attention, `get_attn_mask`, mode "local"). How wide GPT-3's is, and
whether the first layer is a dense one, was not published; here both are as in EleutherAI's GPT-Neo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..hparams import LIMITS, HParams, check_counts
from .family import Family, TapInfo
from .gpt2 import branches
from .gpt2 import taps as gpt2_taps

__all__ = ["GPT3", "SIZES", "GPT3HParams", "taps"]


@dataclass(frozen=True, slots=True)
class GPT3HParams(HParams):
    """band: the keys that a query sees in the layers 1, 3, 5, ...: its own and those before it.

    Raises InputError as `HParams` does, and for a band that is no positive integer within reason.
    """

    band: int

    def __post_init__(self) -> None:
        HParams.__post_init__(self)  # super() does not work with slots before Python 3.14
        check_counts(self, {"band": LIMITS["n_ctx"]})

    @property
    def family(self) -> str:
        return "gpt3"

    def reach(self, layer: int) -> int | None:
        return self.band if layer % 2 else None


_BAND = 256  # GPT-Neo's


def _size(n_embd: int, n_head: int, n_layer: int) -> GPT3HParams:
    return GPT3HParams(50257, 2048, n_embd, n_head, n_layer, _BAND)


# Table 2.1. Two of its rows do not hold together: XL is said to have 24 heads of 128 numbers and a
# width of 2048, 13B 40 heads of 128 and a width of 5140. 16 heads give XL the 1.3 thousand million
# parameters that the table states, and 5120 is what 13B's heads come to.
SIZES: Mapping[str, HParams] = {
    "gpt3-small": _size(768, 12, 12),  # 125M
    "gpt3-medium": _size(1024, 16, 24),  # 356M
    "gpt3-large": _size(1536, 16, 24),  # 760M
    "gpt3-xl": _size(2048, 16, 24),  # 1.3B
    "gpt3-2.7b": _size(2560, 32, 32),
    "gpt3-6.7b": _size(4096, 32, 32),
    "gpt3-13b": _size(5120, 40, 40),
    "gpt3-175b": _size(12288, 96, 96),
}


def taps(hparams: HParams) -> Mapping[str, TapInfo]:
    """GPT-2's, with what the band hides."""
    table = dict(gpt2_taps(hparams))
    name = "blocks.{i}.attn.scores"
    table[name] = replace(
        table[name], formula="qk, later keys -∞; in layers 1, 3, ... those before the band too"
    )
    return table


GPT3 = Family(
    title="GPT-3",
    hparams=GPT3HParams,
    branches=branches,
    taps=taps,
    sizes=SIZES,
    formats=("pellucid",),  # as GPT-2 it would be read, and see too much
    in_page=True,
)
