"""Hugging Face's tensor names → ours (`weights.shapes`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

__all__ = ["LM_HEAD", "PREFIX", "our_names", "unwrapped", "wrapping"]

PREFIX = "transformer."  # GPT2LMHeadModel writes it, GPT2Model does not
LM_HEAD = "lm_head.weight"  # the output layer, tied: must equal wte.weight

# Left out on purpose: buffers that older versions of transformers saved beside the parameters.
# `attn.bias` is the causal mask (not a bias), `attn.masked_bias` the number it writes, -1e4.
_DROPPED = re.compile(r"h\.(0|[1-9][0-9]*)\.attn\.(bias|masked_bias)")


# What wraps a model before it is saved puts its own name before all others: a name before this.
_ANCHOR = re.compile(r"((?:.+?\.)??)(?:transformer\.|model\.)?(?:wte|lm_head|embed_tokens)\.weight")
# torch.compile, FSDP and gradient checkpointing wrap single blocks too.
_WITHIN = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_ADAPTER = re.compile(r"\.(lora_|base_layer\.)")


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """The file's name → the same without what torch.compile, DataParallel, FSDP, peft or a class
    of one's own put before every name, and into some."""
    plain = {name: _WITHIN.sub("", name) for name in names}
    anchors = map(_ANCHOR.fullmatch, plain.values())
    prefix = next((match[1] for match in anchors if match), "")
    if not all(text.startswith(prefix) for text in plain.values()):
        return plain
    return {name: text.removeprefix(prefix) for name, text in plain.items()}


def wrapping(names: Iterable[str]) -> str | None:
    """What a card says of names that `unwrapped` makes shorter."""
    plain = unwrapped(names)
    before = {name.removesuffix(text) for name, text in plain.items()}
    if before == {""} or not before:
        return None
    if len(before) == 1:
        return f"{before.pop()!r} stands before every name in the file, and was taken off"
    wrappers = ", ".join(sorted({each for name in plain for each in _WITHIN.findall(name)}))
    return f"{wrappers!r} stands in names of the file, and was taken out"


def our_names(stored: Mapping[str, Any], source: Path) -> dict[str, str]:
    """Our name → the file's name, for all that the file holds and Pellucid keeps.

    `lm_head.weight` stays in, for its comparison with `wte.weight`; where it is there alone it is
    `wte.weight`, for one of two tied tensors is enough to save (safetensors' save_model).
    Raises CheckpointError when two of the file's names mean the same tensor. Unknown names pass:
    `check_shapes` names them.
    """
    table: dict[str, str] = {}
    for name, plain in unwrapped(stored).items():
        ours = plain.removeprefix(PREFIX)
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
