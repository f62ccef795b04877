"""GPT-2's forward pass, in the order in which the data flows. Nothing else.

    tokens ─ embed ─┬─ block × n_layer ─┬─ final norm ─ unembed ─ logits
                    │   attention, MLP  │
                    └ each adds to x, the residual stream [batch, position, n_embd]

Sources: "Attention Is All You Need" (arXiv 1706.03762) and openai/gpt-2 `src/model.py`.
Arrays are a backend's; each step says its shapes. Every value passes through the tap,
`tap(name, value) -> value`: returned unchanged it is read, returned otherwise it is replaced.
"""

from __future__ import annotations

import math
from typing import Any

from .backend import Array, Backend
from .cache import Cache
from .errors import ContextError, InputError
from .hparams import HParams
from .taps import Tap, untouched, wants

__all__ = [
    "EPSILON",
    "block",
    "embed",
    "gpt2",
    "layer_norm",
    "mlp",
    "multi_head_attention",
    "self_attention",
    "unembed",
]

EPSILON = 1e-5  # of every layer norm


def gpt2(
    tokens: Array,
    weights: Any,
    hparams: HParams,
    backend: Backend,
    cache: Cache | None = None,
    tap: Tap | None = None,
    *,
    lengths: Any = None,
    last_only: bool = False,
) -> Array:
    """tokens [batch, position] -> logits [batch, position, n_vocab]

    cache: what came before; the tokens given follow it, and it grows by them.
    lengths: tokens per row where rows differ; what lies behind a row's length is padding.
    Padding at the end needs no mask: no earlier token sees it, and the cache drops it.
    last_only: only each row's last logits, [batch, 1, n_vocab].
    Raises ContextError when more tokens come than n_ctx holds.
    """
    tap = tap or untouched
    batch, new = tokens.shape
    past = backend.ids([0]) if cache is None else backend.ids(cache.past)  # [1] or [batch]
    if cache is not None:
        if cache.batch != batch:
            raise InputError(f"the cache holds {cache.batch} sequences, the tokens are {batch}")
        cache.check_room(new)
    elif new > hparams.n_ctx:
        raise ContextError(f"{new} tokens exceed the context window of n_ctx = {hparams.n_ctx}")

    x = embed(tokens, past, weights, backend, tap)  # [batch, position, n_embd]
    for layer, w in enumerate(weights.h):
        x = backend.apply(block, w, x, layer, hparams, backend, cache, past, tap)
    x = layer_norm(x, weights.ln_f, backend, tap, "ln_final")
    if last_only:
        x = _last(x, lengths, backend)  # [batch, 1, n_embd]
    logits = unembed(x, weights, backend, tap)  # [batch, position, n_vocab]
    if cache is not None:
        cache.advance(new if lengths is None else lengths)
    return logits


def embed(tokens: Array, past: Array, weights: Any, backend: Backend, tap: Tap) -> Array:
    """tokens [batch, position] -> x [batch, position, n_embd]

    Look each token up in the dictionary and get back an array of numbers; add to it the
    array that belongs to its position.
    """
    steps = backend.ids(list(range(tokens.shape[1])))
    token = tap("embed", backend.embedding(weights.wte.weight, tokens))
    position = tap("pos_embed", backend.embedding(weights.wpe.weight, past[:, None] + steps))
    return backend.dropout(token + position)


def block(
    x: Array,
    w: Any,
    layer: int,
    hparams: HParams,
    backend: Backend,
    cache: Cache | None,
    past: Array,
    tap: Tap,
) -> Array:
    """x [batch, position, n_embd] -> x [batch, position, n_embd]

    Tokens look at each other (attention), then each works for itself (MLP); both add their
    result to the residual stream. The norm comes before each: "pre-LayerNorm".
    """
    at = f"blocks.{layer}"
    x = tap(f"{at}.resid_pre", x)
    seen = layer_norm(x, w.ln_1, backend, tap, f"{at}.ln1")
    attended = multi_head_attention(seen, w.attn, layer, hparams, backend, cache, past, tap)
    x = tap(f"{at}.resid_mid", x + tap(f"{at}.attn_out", backend.dropout(attended)))
    seen = layer_norm(x, w.ln_2, backend, tap, f"{at}.ln2")
    thought = mlp(seen, w.mlp, layer, backend, tap)
    return tap(f"{at}.resid_post", x + tap(f"{at}.mlp_out", backend.dropout(thought)))


def layer_norm(x: Array, w: Any, backend: Backend, tap: Tap, at: str) -> Array:
    """x [..., n_embd] -> [..., n_embd]: (x - mean) / deviation · gain + bias"""
    if not (wants(tap, f"{at}.scale") or wants(tap, f"{at}.normalized")):
        return tap(f"{at}.out", backend.layer_norm(x, w.weight, w.bias, EPSILON))
    centred = x - backend.mean(x)
    scale = tap(f"{at}.scale", backend.sqrt(backend.mean(centred * centred) + EPSILON))
    normalized = tap(f"{at}.normalized", centred / scale)
    return tap(f"{at}.out", normalized * w.weight + w.bias)


def multi_head_attention(
    x: Array,
    w: Any,
    layer: int,
    hparams: HParams,
    backend: Backend,
    cache: Cache | None,
    past: Array,
    tap: Tap,
) -> Array:
    """x [batch, position, n_embd] -> [batch, position, n_embd]

    concat(head_1, …, head_h) · W_Output, the heads in parallel (paper §3.2.2).
    """
    at = f"blocks.{layer}.attn"
    batch, new, n_embd = x.shape
    n_head, d_k = hparams.n_head, hparams.d_k
    # W_Query, W_Key, W_Value of all heads in one product: [batch, position, 3, head, d_k]
    qkv = backend.linear(x, w.c_attn.weight, w.c_attn.bias).reshape(batch, new, 3, n_head, d_k)
    q = tap(f"{at}.q", qkv[:, :, 0])  # [batch, position, head, d_k]
    k = tap(f"{at}.k", qkv[:, :, 1])
    v = tap(f"{at}.v", qkv[:, :, 2])
    q, k, v = q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)  # [batch, head, position, d_k]
    if cache is not None:
        k, v = cache.append(layer, k, v)  # [batch, head, key, d_k]

    if any(wants(tap, f"{at}.{name}") for name in ("qk", "scores", "pattern")):
        z = self_attention(q, k, v, past, backend, tap, at)
    else:
        z = backend.attention(q, k, v, past)
    z = tap(f"{at}.z", z.swapaxes(1, 2))  # [batch, position, head, d_k]

    if wants(tap, f"{at}.result"):  # the same product, one head at a time
        w_output = w.c_proj.weight.reshape(n_head, d_k, n_embd)
        result = tap(f"{at}.result", (z.swapaxes(1, 2) @ w_output).swapaxes(1, 2))
        return result.sum(2) + w.c_proj.bias
    concat = z.reshape(batch, new, n_embd)
    return backend.linear(concat, w.c_proj.weight, w.c_proj.bias)


def self_attention(
    q: Array, k: Array, v: Array, past: Array, backend: Backend, tap: Tap, at: str
) -> Array:
    """q [batch, head, query, d_k], k, v [batch, head, key, d_k] -> [batch, head, query, d_k]

    softmax(Q·Kᵀ / √d_k) · V (paper, equation 1), where no query sees a later key.
    """
    # [batch, head, query, key]
    qk = tap(f"{at}.qk", backend.matmul(q / math.sqrt(q.shape[3]), k.swapaxes(2, 3)))
    mask = backend.causal_mask(past, q.shape[2], k.shape[2])
    scores = tap(f"{at}.scores", backend.hide(qk, mask))
    pattern = tap(f"{at}.pattern", backend.softmax(scores))  # each row sums to 1
    return backend.matmul(pattern, v)


def mlp(x: Array, w: Any, layer: int, backend: Backend, tap: Tap) -> Array:
    """x [batch, position, n_embd] -> [batch, position, n_embd], through 4 · n_embd neurons"""
    at = f"blocks.{layer}.mlp"
    pre = tap(f"{at}.pre", backend.linear(x, w.c_fc.weight, w.c_fc.bias))
    post = tap(f"{at}.post", backend.gelu(pre))
    return backend.linear(post, w.c_proj.weight, w.c_proj.bias)


def unembed(x: Array, weights: Any, backend: Backend, tap: Tap) -> Array:
    """x [batch, position, n_embd] -> logits [batch, position, n_vocab]

    How well does x match each token's embedding? The same table as at the input ("tied").
    """
    return tap("logits", backend.unembed(x, weights.wte.weight))


def _last(x: Array, lengths: Any, backend: Backend) -> Array:
    """[batch, position, n] -> [batch, 1, n]: each row's last position that is not padding"""
    if lengths is None:
        return x[:, -1:]
    rows = backend.ids(list(range(x.shape[0])))
    return x[rows, backend.ids(lengths) - 1][:, None]
