"""The families of models: a record of facts each, that weights, taps, checkpoint and inspect ask"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..hparams import HParams
from .family import Branch, Family, TapInfo
from .gpt2 import GPT2
from .gpt3 import GPT3
from .llama import LLAMA
from .transformer import TRANSFORMER

__all__ = ["FAMILIES", "SIZES", "Branch", "Family", "TapInfo", "family_of", "hparams_of", "named"]

FAMILIES: dict[str, Family] = {
    "gpt2": GPT2,
    "gpt3": GPT3,
    "llama": LLAMA,
    "transformer": TRANSFORMER,
}

# The shapes that have names, of all families.
SIZES: dict[str, HParams] = {
    name: size for family in FAMILIES.values() for name, size in family.sizes.items()
}


def named(name: str | None) -> Family | None:
    """The family of a name, or None where there is none."""
    return FAMILIES.get(name or "")


def family_of(hparams: HParams) -> Family:
    return FAMILIES[hparams.family]


def hparams_of(values: Mapping[str, Any]) -> HParams:
    """What `HParams.to_dict` of any family wrote -> the same again.

    Raises InputError for an unknown family, and what the family's hyperparameters refuse.
    """
    known = dict(values)
    name = known.pop("family", "gpt2")
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(f"unknown family {name!r:.40}; known: {', '.join(FAMILIES)}")
    return FAMILIES[name].hparams.from_dict(known)
