"""The original Transformer out of torch.nn's own layers, and small random ones of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.backend import get_backend
from pellucid.families.transformer import TransformerHParams
from pellucid.model import EncoderDecoder
from pellucid.tokenizer import Tokenizer
from pellucid.translate import Translator
from pellucid.weights import shapes

__all__ = ["BEGIN_END", "Theirs", "encoder_decoder", "random_weights", "tokenizer", "translator"]

BEGIN_END = ("<|begin|>", "<|endoftext|>")


def random_weights(hparams: TransformerHParams, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers in every tensor, biases too; the norms' gains around 1."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape) * (0.3 if len(shape) > 1 else 0.5)
        + (1.0 if ".ln_" in name and name.endswith("weight") else 0.0)
        for name, shape in shapes(hparams).items()
    }


def encoder_decoder(
    hparams: TransformerHParams,
    tensors: Mapping[str, np.ndarray],
    backend: str = "numpy",
    dtype: str = "float64",
) -> EncoderDecoder:
    dtype = "float32" if backend == "native" else dtype
    return EncoderDecoder.of(hparams, tensors, get_backend(backend, dtype=dtype))


def tokenizer() -> Tokenizer:
    """Bytes, "two", "hundred" and the like, and the tokens that begin and end texts."""
    return Tokenizer.train(["two hundred and six"] * 2, 280, BEGIN_END)


def translator(
    seed: int = 0, backend: str = "numpy", dtype: str = "float64"
) -> tuple[Translator, dict[str, np.ndarray]]:
    """One that writes nonsense, and its tensors."""
    tokens = tokenizer()
    hparams = TransformerHParams(tokens.n_vocab, 24, 16, 2, 2)
    tensors = random_weights(hparams, seed)
    begin, end = (tokens.special_tokens[name] for name in BEGIN_END)
    model = encoder_decoder(hparams, tensors, backend, dtype)
    return Translator(model, tokens, begin=begin, end=end, name="tiny"), tensors


class Theirs:
    """torch.nn.TransformerEncoderLayer and TransformerDecoderLayer with the same numbers, in
    float64. Embeddings and sinusoids, which torch.nn has none of, number by number."""

    def __init__(self, hparams: TransformerHParams, tensors: Mapping[str, np.ndarray]) -> None:
        import torch

        self.torch, self.hparams = torch, hparams
        self.table = torch.tensor(tensors["wte.weight"], dtype=torch.float64)
        kinds = {
            "encoder": torch.nn.TransformerEncoderLayer,
            "decoder": torch.nn.TransformerDecoderLayer,
        }
        self.layers: dict[str, list[Any]] = {
            stack: [
                kind(
                    hparams.n_embd, hparams.n_head, 4 * hparams.n_embd, dropout=0.0,
                    activation="relu", batch_first=True, norm_first=False, dtype=torch.float64,
                )
                for _ in range(hparams.n_layer)
            ]
            for stack, kind in kinds.items()
        }  # fmt: skip
        for stack, layers in self.layers.items():
            for i, layer in enumerate(layers):
                own = {
                    name.removeprefix(f"{stack}.h.{i}."): value
                    for name, value in tensors.items()
                    if name.startswith(f"{stack}.h.{i}.")
                }
                state = {k: torch.tensor(v) for k, v in self._state(own, stack).items()}
                layer.load_state_dict(state)  # raises where one is missing or left over

    def _state(self, own: Mapping[str, np.ndarray], stack: str) -> dict[str, np.ndarray]:
        maps = {"self_attn.out_proj": "attn.c_proj", "linear1": "mlp.c_fc", "linear2": "mlp.c_proj"}
        norms = {"norm1": "ln_1", "norm2": "ln_2"}
        packed = {"self_attn.in_proj": ("attn.c_attn",)}
        if stack == "decoder":
            maps["multihead_attn.out_proj"] = "cross.c_proj"
            norms["norm3"] = "ln_3"
            packed["multihead_attn.in_proj"] = ("cross.c_q", "cross.c_kv")
        state = {}
        for theirs, ours in maps.items():
            state[f"{theirs}.weight"] = own[f"{ours}.weight"].T
            state[f"{theirs}.bias"] = own[f"{ours}.bias"]
        for theirs, ours in norms.items():
            state[f"{theirs}.weight"], state[f"{theirs}.bias"] = (
                own[f"{ours}.{leaf}"] for leaf in ("weight", "bias")
            )
        for theirs, names in packed.items():
            weights, biases = ([own[f"{n}.{leaf}"] for n in names] for leaf in ("weight", "bias"))
            state[f"{theirs}_weight"] = np.concatenate(weights, 1).T
            state[f"{theirs}_bias"] = np.concatenate(biases)
        return state

    def embed(self, ids: np.ndarray) -> Any:
        d = self.hparams.n_embd
        x = self.table[self.torch.tensor(ids)] * math.sqrt(d)
        for pos in range(ids.shape[1]):
            for i in range(d):
                angle = pos / 10000 ** ((i // 2 * 2) / d)
                x[:, pos, i] += math.sin(angle) if i % 2 == 0 else math.cos(angle)
        return x

    def forward(
        self, source: np.ndarray, target: np.ndarray, lengths: Any = None
    ) -> dict[str, Any]:
        """-> memory, logits, and the patterns of every attention, [batch, head, query, key]"""
        torch, made = self.torch, {}
        n, m = source.shape[1], target.shape[1]
        padding = None
        if lengths is not None:
            padding = torch.arange(n)[None] >= torch.tensor(lengths)[:, None]
        later = torch.ones(m, m, dtype=torch.bool).triu(1)

        def pattern(attention: Any, x: Any, y: Any, **masks: Any) -> np.ndarray:
            return attention(x, y, y, average_attn_weights=False, **masks)[1].numpy()

        with torch.no_grad():
            x = self.embed(source)
            for i, layer in enumerate(self.layers["encoder"]):
                made[f"encoder.blocks.{i}.attn.pattern"] = pattern(
                    layer.self_attn, x, x, key_padding_mask=padding
                )
                x = layer(x, src_key_padding_mask=padding)
            memory, x = x, self.embed(target)
            for i, layer in enumerate(self.layers["decoder"]):
                at = f"decoder.blocks.{i}"
                made[f"{at}.attn.pattern"] = pattern(layer.self_attn, x, x, attn_mask=later)
                between = layer.norm1(x + layer.self_attn(x, x, x, attn_mask=later)[0])
                made[f"{at}.cross.pattern"] = pattern(
                    layer.multihead_attn, between, memory, key_padding_mask=padding
                )
                x = layer(x, memory, tgt_mask=later, memory_key_padding_mask=padding)
            made["memory"] = memory.numpy()
            made["logits"] = (x @ self.table.T).numpy()
        return made
