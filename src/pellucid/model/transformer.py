"""The original Transformer's forward pass ("Attention Is All You Need", arXiv 1706.03762), in the
order in which the data flows. Nothing else.

    source ─ embed ─ encoder block × n_layer ─ memory
                     attention, MLP               │ keys, values
    target ─ embed ─ decoder block × n_layer ─────┴─── unembed ─ logits
                     attention, cross-attention, MLP

It reads one text whole and writes another, token by token. Beside GPT-2's page: two stacks instead
of one, and attention from the second to the first; positions are sinusoids, not learned; the norm
comes after each sum instead of before each step; ReLU instead of GELU; tokens · √d_model.

Arrays are a backend's; each step says its shapes. Every value passes through the tap,
`tap(name, value) -> value`: returned unchanged it is read, returned otherwise it is replaced.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..backend import Array
from ..errors import ContextError
from .gpt2 import layer_norm, plus_linear
from .one_pass import Pass

__all__ = ["Memory", "decode", "decoder_block", "encode", "encoder_block", "forward", "sinusoids"]


class Memory:
    """What the encoder made of a source, and the keys and values that each layer of the decoder
    reads it by, computed when they are first asked for.

    x [batch, source, n_embd]. mask [batch, 1, 1, source]: False where padding stands; None where
    there is none.
    """

    def __init__(self, x: Array, mask: Array | None) -> None:
        self.x, self.mask = x, mask
        self._read: dict[int, tuple[Array, Array]] = {}

    def keys_values(self, w: Any, layer: int, run: Pass) -> tuple[Array, Array]:
        """-> k, v [batch, head, source, d_k] of a layer of the decoder"""
        if layer not in self._read:
            k, v = in_heads(self.x, w.c_kv, f"decoder.blocks.{layer}.cross", "kv", run)
            self._read[layer] = k, v
        return self._read[layer]


def forward(
    source: Array, target: Array, weights: Any, run: Pass, lengths: Array | None = None
) -> Array:
    """source [batch, source], target [batch, position] -> logits [batch, position, n_vocab]:
    what follows each position of the target, which begins with a token that begins texts.

    lengths [batch]: of the sources, where they differ; what lies behind is padding.
    """
    return decode(target, encode(source, weights, run, lengths), weights, run)


def encode(source: Array, weights: Any, run: Pass, lengths: Array | None = None) -> Memory:
    """source [batch, source] -> what the decoder sees of it. Raises ContextError beyond n_ctx."""
    backend, n = run.backend, source.shape[1]
    _check_room(n, "source", run)
    mask = None
    if lengths is not None:  # [batch, 1, 1, source]: nobody looks at padding
        mask = backend.ids(list(range(n))) < lengths[:, None, None, None]
    x = embed(source, backend.ids([list(range(n))]), weights, "encoder", run)
    for layer, w in enumerate(weights.encoder.h):
        x = run.apply_block(partial(encoder_block, mask=mask), x, w, layer, run)
    return Memory(x, mask)


def decode(target: Array, memory: Memory, weights: Any, run: Pass) -> Array:
    """target [batch, position] -> logits [batch, position, n_vocab]

    run: its cache holds what came before, and grows by the target. A memory of one source serves
    all rows. Raises ContextError beyond n_ctx.
    """
    n = target.shape[1]
    if run.cache is None:
        _check_room(n, "target", run)
    else:
        run.cache.check_room(n)
    x = embed(target, run.positions(n), weights, "decoder", run)
    for layer, w in enumerate(weights.decoder.h):
        x = run.apply_block(partial(decoder_block, memory=memory), x, w, layer, run)
    if run.cache is not None:
        run.cache.advance(n)
    # How well does x match each token's embedding? One table for source, target and output (§3.4).
    return run.tap("logits", run.backend.unembed(x, weights.wte))


def embed(tokens: Array, positions: Array, weights: Any, stack: str, run: Pass) -> Array:
    """tokens [batch, position] -> x [batch, position, n_embd]

    The array of each token, times √d_model so that it outweighs the position's, and the sinusoids
    of its position (§3.4, §3.5).
    """
    token = run.backend.embedding(weights.wte, tokens) * math.sqrt(run.hparams.n_embd)
    token = run.tap(f"{stack}.embed", token)
    return run.backend.dropout(token + run.tap(f"{stack}.pos_embed", weights.sinusoids[positions]))


def sinusoids(n_ctx: int, n_embd: int) -> np.ndarray:
    """-> [n_ctx, n_embd]: sin(pos / 10000^(2i / n_embd)) in the even columns, cos of the same in
    the odd ones (§3.5). What is k positions further is the same rotation everywhere."""
    column = np.arange(n_embd)
    angle = np.arange(n_ctx)[:, None] / 10000.0 ** ((column - column % 2) / n_embd)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))


def encoder_block(x: Array, w: Any, layer: int, run: Pass, *, mask: Array | None) -> Array:
    """x [batch, source, n_embd] -> the same shape: one layer of the encoder. Each token looks at
    all others, later ones too; then each works for itself. LayerNorm(x + step(x)): "post-norm"."""
    at, tap = f"encoder.blocks.{layer}", run.tap
    x = tap(f"{at}.resid_pre", x)
    q, k, v = in_heads(x, w.attn.c_attn, f"{at}.attn", "qkv", run)
    z = attention(q, k, v, mask, f"{at}.attn", run)
    x = plus_linear(x, z, w.attn.c_proj, f"{at}.attn_out", run, f"{at}.attn.result")
    x = layer_norm(tap(f"{at}.resid_mid", x), w.ln_1, f"{at}.ln1", run)
    x = plus_linear(x, mlp(x, w, at, run), w.mlp.c_proj, f"{at}.mlp_out", run)
    return layer_norm(tap(f"{at}.resid_post", x), w.ln_2, f"{at}.ln2", run)


def decoder_block(x: Array, w: Any, layer: int, run: Pass, *, memory: Memory) -> Array:
    """x [batch, position, n_embd] -> the same shape: one layer of the decoder. The tokens look at
    each other, none at a later one; then at the source (cross-attention); then each works for
    itself."""
    at, tap, backend = f"decoder.blocks.{layer}", run.tap, run.backend
    x = tap(f"{at}.resid_pre", x)
    q, k, v = in_heads(x, w.attn.c_attn, f"{at}.attn", "qkv", run)
    if run.cache is not None:
        k, v = run.cache.append(layer, k, v)  # [batch, head, key, d_k]
    causal = backend.causal_mask(run.past, q.shape[2], k.shape[2])
    z = attention(q, k, v, causal, f"{at}.attn", run)
    x = plus_linear(x, z, w.attn.c_proj, f"{at}.attn_out", run, f"{at}.attn.result")
    x = layer_norm(tap(f"{at}.resid_mid", x), w.ln_1, f"{at}.ln1", run)

    (q,) = in_heads(x, w.cross.c_q, f"{at}.cross", "q", run)
    k, v = memory.keys_values(w.cross, layer, run)  # [batch, head, source, d_k]
    z = attention(q, k, v, memory.mask, f"{at}.cross", run)
    x = plus_linear(x, z, w.cross.c_proj, f"{at}.cross_out", run, f"{at}.cross.result")
    x = layer_norm(tap(f"{at}.resid_mid_cross", x), w.ln_2, f"{at}.ln2", run)

    x = plus_linear(x, mlp(x, w, at, run), w.mlp.c_proj, f"{at}.mlp_out", run)
    return layer_norm(tap(f"{at}.resid_post", x), w.ln_3, f"{at}.ln3", run)


def in_heads(x: Array, w: Any, at: str, names: str, run: Pass) -> tuple[Array, ...]:
    """x [batch, position, n_embd] -> for each of the names, "q", "kv" or "qkv", the product with
    its matrix, [batch, head, position, d_k]; the matrices lie side by side in w."""
    h, (batch, n, _) = run.hparams, x.shape
    made = run.backend.linear(x, w).reshape(batch, n, len(names), h.n_head, h.d_k)
    return tuple(
        run.tap(f"{at}.{name}", made[:, :, i]).swapaxes(1, 2) for i, name in enumerate(names)
    )


def attention(q: Array, k: Array, v: Array, mask: Array | None, at: str, run: Pass) -> Array:
    """q [batch, head, query, d_k], k, v [batch, head, key, d_k] -> [batch, query, n_embd]

    concat of all heads' softmax(Q·Kᵀ / √d_k) · V (equation 1, §3.2.2); the same function three
    times: in the encoder, in the decoder, and from the one to the other. mask: True where a query
    may look at a key.
    """
    tap, backend = run.tap, run.backend
    # [batch, head, query, key]
    scores = tap(f"{at}.qk", backend.matmul(q / math.sqrt(run.hparams.d_k), k.swapaxes(2, 3)))
    if mask is not None:
        scores = backend.hide(scores, mask)
    pattern = tap(f"{at}.pattern", backend.softmax(tap(f"{at}.scores", scores)))
    z = tap(f"{at}.z", backend.matmul(pattern, v).swapaxes(1, 2))  # [batch, query, head, d_k]
    return z.reshape(*z.shape[:2], run.hparams.n_embd)


def mlp(x: Array, w: Any, at: str, run: Pass) -> Array:
    """x [batch, position, n_embd] -> [batch, position, 4 · n_embd]: max(0, x · W_1 + b_1), of which
    c_proj then makes what is added to x (equation 2)."""
    pre = run.tap(f"{at}.mlp.pre", run.backend.linear(x, w.mlp.c_fc))
    return run.tap(f"{at}.mlp.post", pre.clip(0))


def _check_room(n: int, what: str, run: Pass) -> None:
    if n > run.hparams.n_ctx:
        raise ContextError(
            f"{n} tokens of the {what} exceed the window: n_ctx = {run.hparams.n_ctx}"
        )
