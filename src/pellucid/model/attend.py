"""Self-attention: softmax(Q·Kᵀ / √d_k) · V, several heads in parallel (arXiv 1706.03762, §3.2)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from ..backend import Array, Turns
from .one_pass import Pass

__all__ = [
    "attended",
    "attention_pattern",
    "for_each_head",
    "head_by_head",
    "inside",
    "multi_head_attention",
    "self_attention",
]


def multi_head_attention(qkv: Array, layer: int, run: Pass) -> Array:
    """qkv [batch, position, 3 · n_embd] -> [batch, position, n_embd], or the last position's row
    alone (see `Pass.narrows`)

    concat(head_1, …, head_h), the heads in parallel (paper §3.2.2).
    """
    at, tap = f"blocks.{layer}.attn", run.tap
    batch, new, _ = qkv.shape
    q, k, v = qkv.reshape(batch, new, 3, run.hparams.n_head, run.hparams.d_k).swapaxes(0, 2)
    q = tap(f"{at}.q", q.swapaxes(0, 1))  # [batch, position, head, d_k]
    k = tap(f"{at}.k", k.swapaxes(0, 1))
    v = tap(f"{at}.v", v.swapaxes(0, 1))
    return attended(q, k, v, layer, run)


@cache
def inside(layer: int) -> tuple[str, ...]:
    """The values that fused attention does not make."""
    return tuple(f"blocks.{layer}.attn.{name}" for name in ("qk", "scores", "pattern"))


def attended(
    q: Array, k: Array, v: Array, layer: int, run: Pass, turns: Turns | None = None
) -> Array:
    """q [batch, position, head, d_k], k, v [batch, position, kv_head, d_k], each for as many heads
    of queries -> [batch, position, head · d_k]: self-attention, fused where nobody looks inside.

    turns: q and k are turned first, by positions; only where nobody looks inside.
    """
    at, backend = f"blocks.{layer}.attn", run.backend
    if run.narrows(layer):
        q = q[:, -1:]
    q, k, v = q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)  # [batch, head, position, d_k]

    if run.watched and run.wants(*inside(layer)):
        z = self_attention(q, k, v, layer, run)
    else:
        reach = run.hparams.reach(layer)
        z = backend.attend(q, k, v, run.cache, layer, turns, reach)  # the same, fused
    z = run.tap(f"{at}.z", z.swapaxes(1, 2))  # [batch, position, head, d_k]
    return z.reshape(z.shape[0], -1, z.shape[2] * z.shape[3])


def head_by_head(z: Array, w: Any, name: str, run: Pass) -> Array:
    """z [batch, position, head · d_k] -> z · W_Output + bias [batch, position, n_embd], one
    head at a time, so that what each adds, a value by this name, can be seen."""
    backend, h = run.backend, run.hparams
    z = z.reshape(*z.shape[:2], h.n_head, h.d_k).swapaxes(1, 2)  # [batch, head, position, d_k]
    result = run.tap(name, backend.matmul(z, w).swapaxes(1, 2))
    out = result.sum(2)
    return out if w.bias is None else out + w.bias


def self_attention(q: Array, k: Array, v: Array, layer: int, run: Pass) -> Array:
    """q [batch, head, position, d_k], k, v [batch, kv_head, position, d_k] -> as q

    softmax(Q·Kᵀ / √d_k) · V (paper, equation 1), where no query sees a later key. Keys and values
    of earlier tokens come from the cache.
    """
    if run.cache is not None:
        k, v = run.cache.append(layer, k, v)  # [batch, kv_head, key, d_k]
    k, v = for_each_head(k, run), for_each_head(v, run)
    return run.backend.matmul(attention_pattern(q, k, layer, run), v)


def for_each_head(k: Array, run: Pass) -> Array:
    """k [batch, kv_head, key, d_k] -> [batch, head, key, d_k]: of grouped heads, the ones that the
    heads of queries share, once for each."""
    each = run.hparams.n_head // run.hparams.n_kv_head
    if each == 1:
        return k
    return k[:, run.backend.ids([head // each for head in range(run.hparams.n_head)])]


def attention_pattern(q: Array, k: Array, layer: int, run: Pass) -> Array:
    """q [batch, head, query, d_k], k [batch, head, key, d_k] -> [batch, head, query, key]: how
    much each query looks at each key, softmax(Q·Kᵀ / √d_k)."""
    at, tap, backend = f"blocks.{layer}.attn", run.tap, run.backend
    # [batch, head, query, key]
    qk = tap(f"{at}.qk", backend.matmul(q / math.sqrt(q.shape[3]), k.swapaxes(2, 3)))
    reach = run.hparams.reach(layer)  # the keys that a query sees at most
    mask = run.once(_causal_mask, q.shape[2], k.shape[2], reach)
    scores = tap(f"{at}.scores", backend.hide(qk, mask))
    return tap(f"{at}.pattern", backend.softmax(scores))  # each row sums to 1


def _causal_mask(run: Pass, n_query: int, n_key: int, reach: int | None) -> Array | None:
    """The backend's, [batch or 1, 1, query, key]; None where a token alone sees every key."""
    alone = n_query == 1 and len(run.past) == 1 and n_key == int(run.past[0]) + 1
    if alone and (reach is None or n_key <= reach):
        return None
    return run.backend.causal_mask(run.past, n_query, n_key, reach)
