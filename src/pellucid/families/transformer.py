"""The original Transformer (arXiv 1706.03762): an encoder, a decoder, one table of embeddings. Its
parameters are named as GPT-2's are, below `encoder` and `decoder`; its values as TransformerLens
names those of its encoder-decoder, with `cross` for the attention from the one to the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..hparams import HParams
from .family import Branch, Family, TapInfo

__all__ = ["TRANSFORMER", "TransformerHParams", "branches", "taps"]


@dataclass(frozen=True, slots=True)
class TransformerHParams(HParams):
    """The same five numbers. n_vocab: tokens that source and target share. n_ctx: the most of each.
    n_embd: the paper's d_model. n_layer: N, of the encoder and of the decoder; d_ff is 4 · n_embd,
    as in both of the paper's models (table 3)."""

    @property
    def family(self) -> str:
        return "transformer"

    @property
    def n_params(self) -> int:
        """The sinusoids are none."""
        n = self.n_embd
        encoder, decoder = 12 * n**2 + 13 * n, 16 * n**2 + 19 * n
        return self.n_vocab * n + self.n_layer * (encoder + decoder)


def branches(hparams: HParams) -> Mapping[str, Branch]:
    """The tree that `model/transformer.py` reads. The paper does not say how it starts; here as
    Glorot and Bengio (2010) say for each matrix, and embeddings with deviation 1/√d_model, which
    √d_model then takes to 1."""
    n = hparams.n_embd

    def linear(n_in: int, n_out: int, side_by_side: int = 1) -> Branch:
        deviation = math.sqrt(2 / (n_in + n_out))
        return Branch("linear", (n_in, n_out * side_by_side), True, deviation)

    norm = Branch("norm", (n,), True)
    mlp = {"mlp.c_fc": linear(n, 4 * n), "mlp.c_proj": linear(4 * n, n)}
    attention = {"attn.c_attn": linear(n, n, 3), "attn.c_proj": linear(n, n), "ln_1": norm}
    cross = {"cross.c_q": linear(n, n), "cross.c_kv": linear(n, n, 2), "cross.c_proj": linear(n, n)}
    stacks = {
        "encoder": attention | mlp | {"ln_2": norm},
        "decoder": attention | cross | {"ln_2": norm} | mlp | {"ln_3": norm},
    }
    table = {"wte": Branch("table", (hparams.n_vocab, n), deviation=n**-0.5)}
    return table | {
        f"{stack}.h.{i}.{path}": branch
        for stack, block in stacks.items()
        for i in range(hparams.n_layer)
        for path, branch in block.items()
    }


def _norm(position: str, at: str) -> dict[str, TapInfo]:
    axes, slide = ("batch", position, "n_embd"), "repeat for each layer"
    return {
        f"{at}.scale": TapInfo(("batch", position, "1"), "√(var(x) + ε)", slide),
        f"{at}.normalized": TapInfo(axes, "(x - mean(x)) / scale", slide),
        f"{at}.out": TapInfo(axes, "normalized · gain + bias", slide),
    }


def _attention(at: str, query: str, key: str, what: str, hidden: str) -> dict[str, TapInfo]:
    """Without the sum and its norm. query, key: the names of the axes along their texts."""
    of_query, of_key = (("batch", axis, "head", "d_k") for axis in (query, key))
    pairs = ("batch", "head", query, key)
    values = {
        "q": TapInfo(of_query, "W_Query · x", "self-attention"),
        "k": TapInfo(of_key, f"W_Key · {what}", "self-attention"),
        "v": TapInfo(of_key, f"W_Value · {what}", "self-attention"),
        "qk": TapInfo(pairs, "q · kᵀ / √d_k", "self-attention"),
        "scores": TapInfo(pairs, f"qk{hidden}", "self-attention"),
        "pattern": TapInfo(pairs, "softmax(scores)", "self-attention"),
        "z": TapInfo(of_query, "pattern · v", "heads"),
        "result": TapInfo(
            ("batch", query, "head", "n_embd"), "z · W_Output of the head", "concat · W_Output"
        ),
    }
    return {f"{at}.{name}": info for name, info in values.items()}


def _stack(stack: str, position: str) -> dict[str, TapInfo]:
    """Every value of a stack; position: the name of the axis along its text."""
    x, at = ("batch", position, "n_embd"), f"{stack}.blocks.{{i}}"
    key = "source" if position == "source" else "key"
    hidden = ", padding -∞" if position == "source" else ", later keys -∞"
    cross: dict[str, TapInfo] = {}
    if stack == "decoder":
        cross = {
            **_attention(f"{at}.cross", position, "source", "memory", ", padding -∞"),
            f"{at}.cross_out": TapInfo(x, "concat(z) · W_Output + bias", "concat · W_Output"),
            f"{at}.resid_mid_cross": TapInfo(x, "ln1.out + cross_out", "concat · W_Output"),
            **_norm(position, f"{at}.ln2"),
        }
    before, last = ("ln2", "ln3") if cross else ("ln1", "ln2")
    neurons = ("batch", position, "4 · n_embd")
    repeat = "repeat for each layer"
    return {
        f"{stack}.embed": TapInfo(x, "√d_model · wte[token]", "tokens => embeddings"),
        f"{stack}.pos_embed": TapInfo(
            ("1 or batch", position, "n_embd"), "sin, cos(pos / 10000^(2i/d_model))",
            "tokens => embeddings",
        ),
        f"{at}.resid_pre": TapInfo(x, "x", "embeddings, layer by layer"),
        **_attention(f"{at}.attn", position, key, "x", hidden),
        f"{at}.attn_out": TapInfo(x, "concat(z) · W_Output + bias", "concat · W_Output"),
        f"{at}.resid_mid": TapInfo(x, "resid_pre + attn_out", "concat · W_Output"),
        **_norm(position, f"{at}.ln1"),
        **cross,
        f"{at}.mlp.pre": TapInfo(neurons, "x · W_1 + b_1", repeat),
        f"{at}.mlp.post": TapInfo(neurons, "max(0, pre)", repeat),
        f"{at}.mlp_out": TapInfo(x, "post · W_2 + b_2", repeat),
        f"{at}.resid_post": TapInfo(x, f"{before}.out + mlp_out", repeat),
        **_norm(position, f"{at}.{last}"),
    }  # fmt: skip


_TAPS: dict[str, TapInfo] = {
    **_stack("encoder", "source"),
    **_stack("decoder", "position"),
    "logits": TapInfo(("batch", "position", "n_vocab"), "x · wteᵀ", "output layer"),
}


def taps(hparams: HParams) -> Mapping[str, TapInfo]:
    """Every value that can be seen and replaced, in the order in which it is computed."""
    return _TAPS


TRANSFORMER = Family(
    title="the original Transformer",
    hparams=TransformerHParams,
    branches=branches,
    taps=taps,
    formats=("pellucid",),
    inputs={},
    encodes=True,
)
