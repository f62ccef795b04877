"""Which tensors of a file make which of a Llama's: Hugging Face's and llama.cpp's names.

There each of queries, keys, values, gates and so on is a tensor of its own, stored [out, in]; ours
stand side by side, [in, out]. llama.cpp has rotary pairs side by side in architecture "llama" (and
there alone), where Hugging Face, and we, have them half a head apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from ..families.llama import LlamaHParams, branches

__all__ = ["GGUF", "HUGGING_FACE", "Part", "check_parts", "divided", "joined", "parts_of"]

# Branch of ours → theirs.
HUGGING_FACE: dict[str, tuple[str, ...]] = {
    "wte": ("model.embed_tokens",),
    "ln_1": ("model.layers.{i}.input_layernorm",),
    "attn.c_attn": tuple(f"model.layers.{{i}}.self_attn.{name}_proj" for name in "qkv"),
    "attn.q_norm": ("model.layers.{i}.self_attn.q_norm",),
    "attn.k_norm": ("model.layers.{i}.self_attn.k_norm",),
    "attn.c_proj": ("model.layers.{i}.self_attn.o_proj",),
    "ln_2": ("model.layers.{i}.post_attention_layernorm",),
    "mlp.c_fc": ("model.layers.{i}.mlp.gate_proj", "model.layers.{i}.mlp.up_proj"),
    "mlp.c_proj": ("model.layers.{i}.mlp.down_proj",),
    "ln_f": ("model.norm",),
    "lm_head": ("lm_head",),
}
GGUF: dict[str, tuple[str, ...]] = {
    "wte": ("token_embd",),
    "ln_1": ("blk.{i}.attn_norm",),
    "attn.c_attn": tuple(f"blk.{{i}}.attn_{name}" for name in "qkv"),
    "attn.q_norm": ("blk.{i}.attn_q_norm",),
    "attn.k_norm": ("blk.{i}.attn_k_norm",),
    "attn.c_proj": ("blk.{i}.attn_output",),
    "ln_2": ("blk.{i}.ffn_norm",),
    "mlp.c_fc": ("blk.{i}.ffn_gate", "blk.{i}.ffn_up"),
    "mlp.c_proj": ("blk.{i}.ffn_down",),
    "ln_f": ("output_norm",),
    "lm_head": ("output",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor of a file. shape: as stored. turned: whether ours is the transpose. heads: of how
    many heads the pairs stand side by side; 0 where they do not."""

    name: str
    shape: tuple[int, ...]
    turned: bool
    heads: int = 0


def parts_of(
    hparams: LlamaHParams, names: Mapping[str, tuple[str, ...]], *, pairs: bool = False
) -> dict[str, list[Part]]:
    """Our name → the tensors that stand side by side in it. pairs: as in llama.cpp's "llama"."""
    h = hparams
    rows = {
        "attn.c_attn": (h.n_head * h.d_head, h.n_kv_head * h.d_head, h.n_kv_head * h.d_head),
        "mlp.c_fc": (h.n_inner, h.n_inner),
    }
    heads = {"attn.c_attn": (h.n_head, h.n_kv_head, 0)} if pairs else {}
    table: dict[str, list[Part]] = {}
    for path, branch in branches(h).items():
        layer, place = path.split(".", 2)[1:] if path.startswith("h.") else ("", path)
        theirs = [name.format(i=layer) for name in names[place]]
        turned = branch.kind == "linear"
        own = branch.shape[::-1] if turned else branch.shape
        each = list(
            zip(theirs, rows.get(place, own[:1]), heads.get(place, (0, 0, 0)), strict=False)
        )
        table[f"{path}.weight"] = [
            Part(name=f"{name}.weight", shape=(n, *own[1:]), turned=turned, heads=n_head)
            for name, n, n_head in each
        ]
        if branch.bias:
            table[f"{path}.bias"] = [
                Part(name=f"{name}.bias", shape=(n,), turned=False, heads=n_head)
                for name, n, n_head in each
            ]
    return table


def check_parts(
    parts: Mapping[str, list[Part]], arrived: Mapping[str, tuple[int, ...]], source: Path
) -> None:
    """Every tensor of these and no other, before any number is read. arrived: shapes as stored."""
    expected = {part.name: part.shape for listed in parts.values() for part in listed}
    for what, names in (
        ("missing tensors", [name for name in expected if name not in arrived]),
        (
            "tensors that no model of this family and shape has",
            [name for name in arrived if name not in expected],
        ),
    ):
        if names:
            more = f" and {len(names) - 5} more" if names[5:] else ""
            raise CheckpointError(f"{source}: {what}: {', '.join(names[:5])}{more}")
    for name, shape in expected.items():
        if tuple(arrived[name]) != shape:
            raise CheckpointError(
                f"{source}: tensor {name} has shape {list(arrived[name])}; "
                f"the hyperparameters ask for {list(shape)}"
            )


def joined(parts: list[Part], tensor: Callable[[str], np.ndarray]) -> np.ndarray:
    """The tensor of ours that they make. tensor: a file's tensor by its name."""
    rows = []
    for part in parts:
        numbers = tensor(part.name)
        if part.heads:
            apart = numbers.reshape(part.heads, -1, 2, *numbers.shape[1:])
            numbers = apart.swapaxes(1, 2).reshape(numbers.shape)
        rows.append(numbers)
    whole = rows[0] if len(rows) == 1 else np.concatenate(rows)
    return whole.T if parts[0].turned else whole


def divided(parts: list[Part], numbers: np.ndarray) -> Iterator[tuple[Part, np.ndarray]]:
    """The way back: each part with its numbers as they are stored."""
    rows = numbers.T if parts[0].turned else numbers
    begin = 0
    for part in parts:
        own = rows[begin : begin + part.shape[0]]
        begin += part.shape[0]
        if part.heads:
            beside = own.reshape(part.heads, 2, -1, *own.shape[1:])
            own = beside.swapaxes(1, 2).reshape(own.shape)
        yield part, np.ascontiguousarray(own)
