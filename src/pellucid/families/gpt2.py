"""GPT-2: its parameters by Hugging Face's names without the `transformer.` in front, and its values
by TransformerLens's without the `hook_`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..hparams import SIZES, HParams
from .family import Branch, Family, TapInfo

__all__ = ["GPT2", "branches", "taps"]


def branches(hparams: HParams) -> Mapping[str, Branch]:
    """The tree that `model/gpt2.py` reads, and how GPT-2 starts it (GPT-2 paper §2.3; openai/gpt-2
    `model.py`): the projections into the residual stream scaled by 1/√(2·n_layer)."""
    n, into_stream = hparams.n_embd, 0.02 / math.sqrt(2 * hparams.n_layer)
    table = {
        "wte": Branch("table", (hparams.n_vocab, n)),  # also the output layer
        "wpe": Branch("positions", (hparams.n_ctx, n), deviation=0.01),
    }
    for i in range(hparams.n_layer):
        table |= {
            f"h.{i}.ln_1": Branch("norm", (n,), True),
            # W_Query, W_Key, W_Value side by side
            f"h.{i}.attn.c_attn": Branch("linear", (n, 3 * n), True),
            f"h.{i}.attn.c_proj": Branch("linear", (n, n), True, into_stream),  # W_Output
            f"h.{i}.ln_2": Branch("norm", (n,), True),
            f"h.{i}.mlp.c_fc": Branch("linear", (n, 4 * n), True),
            f"h.{i}.mlp.c_proj": Branch("linear", (4 * n, n), True, into_stream),
        }
    return table | {"ln_f": Branch("norm", (n,), True)}


_RESIDUAL = ("batch", "position", "n_embd")
_PER_HEAD = ("batch", "position", "head", "d_k")
_PAIRS = ("batch", "head", "query", "key")
_NEURONS = ("batch", "position", "4 · n_embd")
_SCALE = ("batch", "position", "1")

_TAPS: dict[str, TapInfo] = {
    "embed": TapInfo(_RESIDUAL, "wte[token]", "tokens => embeddings"),
    "pos_embed": TapInfo(
        ("1 or batch", "position", "n_embd"), "wpe[position]", "tokens => embeddings"
    ),
    "blocks.{i}.resid_pre": TapInfo(_RESIDUAL, "x", "embeddings, layer by layer"),
    "blocks.{i}.ln1.scale": TapInfo(_SCALE, "√(var(x) + ε)", "self-attention"),
    "blocks.{i}.ln1.normalized": TapInfo(_RESIDUAL, "(x - mean(x)) / scale", "self-attention"),
    "blocks.{i}.ln1.out": TapInfo(_RESIDUAL, "normalized · gain + bias", "self-attention"),
    "blocks.{i}.attn.q": TapInfo(_PER_HEAD, "W_Query · x", "self-attention"),
    "blocks.{i}.attn.k": TapInfo(_PER_HEAD, "W_Key · x", "self-attention"),
    "blocks.{i}.attn.v": TapInfo(_PER_HEAD, "W_Value · x", "self-attention"),
    "blocks.{i}.attn.qk": TapInfo(_PAIRS, "q · kᵀ / √d_k", "self-attention"),
    "blocks.{i}.attn.scores": TapInfo(_PAIRS, "qk, later keys -∞", "self-attention"),
    "blocks.{i}.attn.pattern": TapInfo(_PAIRS, "softmax(scores)", "self-attention"),
    "blocks.{i}.attn.z": TapInfo(_PER_HEAD, "pattern · v", "heads"),
    "blocks.{i}.attn.result": TapInfo(
        ("batch", "position", "head", "n_embd"), "z · W_Output of the head", "concat · W_Output"
    ),
    "blocks.{i}.attn_out": TapInfo(_RESIDUAL, "concat(z) · W_Output + bias", "concat · W_Output"),
    "blocks.{i}.resid_mid": TapInfo(_RESIDUAL, "resid_pre + attn_out", "concat · W_Output"),
    "blocks.{i}.ln2.scale": TapInfo(_SCALE, "√(var(x) + ε)", "repeat for each layer"),
    "blocks.{i}.ln2.normalized": TapInfo(
        _RESIDUAL, "(x - mean(x)) / scale", "repeat for each layer"
    ),
    "blocks.{i}.ln2.out": TapInfo(_RESIDUAL, "normalized · gain + bias", "repeat for each layer"),
    "blocks.{i}.mlp.pre": TapInfo(_NEURONS, "x · W_fc + bias", "repeat for each layer"),
    "blocks.{i}.mlp.post": TapInfo(
        _NEURONS, "½x(1 + tanh(√(2/π)(x + 0.044715x³)))", "repeat for each layer"
    ),
    "blocks.{i}.mlp_out": TapInfo(_RESIDUAL, "post · W_proj + bias", "repeat for each layer"),
    "blocks.{i}.resid_post": TapInfo(_RESIDUAL, "resid_mid + mlp_out", "repeat for each layer"),
    "ln_final.scale": TapInfo(_SCALE, "√(var(x) + ε)", "output layer"),
    "ln_final.normalized": TapInfo(_RESIDUAL, "(x - mean(x)) / scale", "output layer"),
    "ln_final.out": TapInfo(_RESIDUAL, "normalized · gain + bias", "output layer"),
    "logits": TapInfo(("batch", "position", "n_vocab"), "x · wteᵀ", "output layer"),
}


def taps(hparams: HParams) -> Mapping[str, TapInfo]:
    """Every value that can be seen and replaced, in the order in which it is computed."""
    return _TAPS


GPT2 = Family(
    title="GPT-2", hparams=HParams, branches=branches, taps=taps, sizes=SIZES, in_page=True
)
