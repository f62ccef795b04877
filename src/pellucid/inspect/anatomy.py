"""What a page must know of a model to draw its walk: facts from the record of its family."""

from __future__ import annotations

from typing import Any

from ..families import family_of
from ..hparams import HParams
from ..taps import table

__all__ = ["anatomy"]


def anatomy(hparams: HParams) -> dict[str, Any]:
    """How a pass is put together, for `web/walk/pass.js`, whose type Anatomy says each entry.

    query, key: the values that a query and a key go through, in order, within a layer. turns: by
    how much each pair of their numbers turns from one position to the next, in radians, and what
    they are multiplied by; None where positions are added to the embeddings. reach: the keys that
    a query sees in each layer at most. biases: the places within a layer that have one.
    """
    family, names = family_of(hparams), table(hparams)
    rope = hparams.rope

    def goes_through(name: str) -> list[str]:
        stations = (name, f"{name}_norm.normalized", f"{name}_norm.out", f"rot_{name}")
        return [f"attn.{each}" for each in stations if f"blocks.{{i}}.attn.{each}" in names]

    return {
        "added": "pos_embed" in names,
        "centres": family.centres,
        "query": goes_through("q"),
        "key": goes_through("k"),
        "turns": None
        if rope is None
        else {"frequencies": rope.frequencies(hparams.d_k), "scale": rope.scale},
        "n_kv_head": hparams.n_kv_head,
        "d_k": hparams.d_k,
        "n_inner": hparams.n_inner,
        "reach": [hparams.reach(layer) for layer in range(hparams.n_layer)],
        "gated": "blocks.{i}.mlp.pre_linear" in names,
        "tied": hparams.tied,
        "biases": [
            path.removeprefix("h.0.")
            for path, branch in family.branches(hparams).items()
            if branch.bias and path.startswith("h.0.")
        ],
    }
