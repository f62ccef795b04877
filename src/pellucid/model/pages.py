"""The page of each family: the functions that are its forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..backend import Array
from ..errors import InputError
from ..families import family_of
from ..hparams import HParams
from . import gpt2, llama
from .one_pass import Pass

__all__ = ["PAGES", "Page", "page_of"]


class Page(NamedTuple):
    """What a page must have. w: a branch of the tree of weights, whose names the family chose.

    forward: (tokens [batch, position], weights, run) -> logits [batch, position, n_vocab]
    block: (x [batch, position, n_embd], w, layer, run) -> the same shape
    norm: (x, w, name of its values, run) -> the same shape
    unembed: (x, weights, run) -> logits
    """

    forward: Callable[[Array, Any, Pass], Array]
    block: Callable[[Array, Any, int, Pass], Array]
    norm: Callable[[Array, Any, str, Pass], Array]
    unembed: Callable[[Array, Any, Pass], Array]


_GPT2 = Page(gpt2.forward, gpt2.block, gpt2.layer_norm, gpt2.unembed)

PAGES: dict[str, Page] = {
    "gpt2": _GPT2,
    "gpt3": _GPT2,  # step by step the same; which keys a layer sees, `HParams.reach` says
    "llama": Page(llama.forward, llama.block, llama.rms_norm, llama.unembed),
}


def page_of(hparams: HParams) -> Page:
    """Raises InputError for a family that does not go on from a text."""
    if (family := family_of(hparams)).encodes:
        raise InputError(
            f"this model is {family.title}, which reads one text whole and writes another: it "
            "neither goes on from a text nor holds a conversation. Give it a text: "
            'pellucid generate --model M "two hundred and six", or watch it: pellucid walk; in '
            "Python pellucid.load_translator"
        )
    return PAGES[hparams.family]
