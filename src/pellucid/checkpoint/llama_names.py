"""Which tensors of a file make which of a Llama's: Hugging Face's and llama.cpp's names.

There each of queries, keys, values, gates and so on is a tensor of its own, stored [out, in]; ours
stand side by side, [in, out]. llama.cpp has rotary pairs side by side in architecture "llama" (and
there alone), where Hugging Face, and we, have them half a head apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..families.llama import LlamaHParams, branches
from .parts import Part

__all__ = ["GGUF", "HUGGING_FACE", "parts_of"]

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
