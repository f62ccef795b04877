"""Hugging Face's tensor names → ours (`weights.shapes`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

__all__ = ["LM_HEAD", "PREFIX", "common_prefix", "our_names"]

PREFIX = "transformer."  # GPT2LMHeadModel writes it, GPT2Model does not
LM_HEAD = "lm_head.weight"  # the output layer, tied: must equal wte.weight

# Left out on purpose: buffers that older versions of transformers saved beside the parameters.
# `attn.bias` is the causal mask (not a bias), `attn.masked_bias` the number it writes, -1e4.
_DROPPED = re.compile(r"h\.(0|[1-9][0-9]*)\.attn\.(bias|masked_bias)")


# What wraps a model before it is saved puts its own name before all others.
_WRAPPER = re.compile(r"(?:(?:_orig_mod|module|base_model\.model|model)\.)+")
_ADAPTER = re.compile(r"\.(lora_|base_layer\.)")


def common_prefix(names: Iterable[str]) -> str:
    """What torch.compile, DataParallel or peft put before every name; "" where they did not."""
    ordered = list(names)
    match = _WRAPPER.match(ordered[0]) if ordered else None
    prefix = match[0] if match else ""
    return prefix if all(name.startswith(prefix) for name in ordered) else ""


def our_names(stored: Mapping[str, Any], source: Path) -> dict[str, str]:
    """Our name → the file's name, for all that the file holds and Pellucid keeps.

    `lm_head.weight` stays in, for its comparison with `wte.weight`; where it is there alone it is
    `wte.weight`, for one of two tied tensors is enough to save (safetensors' save_model).
    Raises CheckpointError when two of the file's names mean the same tensor. Unknown names pass:
    `check_shapes` names them.
    """
    table: dict[str, str] = {}
    wrapper = common_prefix(stored)
    for name in stored:
        ours = name.removeprefix(wrapper).removeprefix(PREFIX)
        if _ADAPTER.search(ours):
            raise CheckpointError(
                f"{source}: {name} belongs to a LoRA adapter that is not merged into its model: "
                "save it again after peft's merge_and_unload()"
            )
        if _DROPPED.fullmatch(ours):
            continue
        if ours in table:
            raise CheckpointError(f"{source}: {table[ours]} and {name} are the same tensor")
        table[ours] = name
    if "wte.weight" not in table and LM_HEAD in table:
        table["wte.weight"] = table.pop(LM_HEAD)
    return table
