"""Hugging Face's tensor names → ours (`weights.shapes`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

__all__ = ["LM_HEAD", "PREFIX", "our_names"]

PREFIX = "transformer."  # GPT2LMHeadModel writes it, GPT2Model does not
LM_HEAD = "lm_head.weight"  # the output layer, tied: must equal wte.weight

# Left out on purpose: buffers that older versions of transformers saved beside the parameters.
# `attn.bias` is the causal mask (not a bias), `attn.masked_bias` the number it writes, -1e4.
_DROPPED = re.compile(r"h\.(0|[1-9][0-9]*)\.attn\.(bias|masked_bias)")


def our_names(found: Mapping[str, Any], source: Path) -> dict[str, str]:
    """Our name → the file's name, for all that the file holds and Pellucid keeps.

    `lm_head.weight` stays in, for its comparison with `wte.weight`. Raises CheckpointError when
    two of the file's names mean the same tensor. Unknown names pass: `check_shapes` names them.
    """
    table: dict[str, str] = {}
    for name in found:
        ours = name.removeprefix(PREFIX)
        if _DROPPED.fullmatch(ours):
            continue
        if ours in table:
            raise CheckpointError(f"{source}: {table[ours]} and {name} are the same tensor")
        table[ours] = name
    return table
