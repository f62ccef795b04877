"""Llama's forward pass, in the order in which the data flows, beside GPT-2's.

    tokens ─ embed ─┬─ block × n_layer ─┬─ final norm ─ unembed ─ logits
                    │   attention, MLP  │
                    └ each adds to x, the residual stream [batch, position, n_embd]

What is not as in GPT-2: norms only divide (RMS norm), positions turn queries and keys instead of
being added to x, several heads of queries share one of keys and values, and the MLP's neurons are
gated. Sources: LLaMA (arXiv 2302.13971), Mistral (2310.06825), Qwen2 (2407.10671), Qwen3
(2505.09388). Every value passes through the tap, as in GPT-2.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, turned
from .attend import attended, inside
from .gpt2 import plus_linear
from .one_pass import Pass
from .rotary import turns

__all__ = ["attention", "block", "embed", "forward", "mlp", "rms_norm", "unembed"]


def forward(tokens: Array, weights: Any, run: Pass) -> Array:
    """tokens [batch, position] -> logits [batch, position, n_vocab]; see `gpt2.forward`."""
    run.check_room(tokens)
    x = embed(tokens, weights, run)  # [batch, position, n_embd]
    for layer, w in enumerate(weights.h):
        x = run.apply_block(block, x, w, layer, run)
    x = rms_norm(x, weights.ln_f, "ln_final", run)
    logits = unembed(run.asked(x), weights, run)  # [batch, position, n_vocab]
    if run.cache is not None:
        run.cache.advance(tokens.shape[1] if run.lengths is None else run.lengths)
    return logits


def embed(tokens: Array, weights: Any, run: Pass) -> Array:
    """tokens [batch, position] -> x [batch, position, n_embd]: each token looked up in the
    dictionary. Where it stands is not in x: attention turns queries and keys by it."""
    return run.tap("embed", run.backend.embedding(weights.wte, tokens))


def block(x: Array, w: Any, layer: int, run: Pass) -> Array:
    """x [batch, position, n_embd] -> the same shape: one layer. Where nothing else of the last
    one is asked for, the last position's row alone."""
    at, tap = f"blocks.{layer}", run.tap
    x = tap(f"{at}.resid_pre", x)
    # queries of all heads, keys and values of fewer, in one product: [batch, position, n_qkv]
    qkv = linear_of_norm(x, w.ln_1, w.attn.c_attn, f"{at}.ln1", run)
    z = attention(qkv, w.attn, layer, run)
    x = x[:, -z.shape[1] :]
    heads = f"{at}.attn.result"
    x = tap(f"{at}.resid_mid", plus_linear(x, z, w.attn.c_proj, f"{at}.attn_out", run, heads))
    post = mlp(x, w, layer, run)
    return tap(f"{at}.resid_post", plus_linear(x, post, w.mlp.c_proj, f"{at}.mlp_out", run))


def attention(qkv: Array, w: Any, layer: int, run: Pass) -> Array:
    """qkv [batch, position, n_qkv] -> [batch, position, head · d_k], or the last position's row
    alone (see `Pass.narrows`): heads of queries, in groups that share keys and values."""
    at, tap, h = f"blocks.{layer}.attn", run.tap, run.hparams
    batch, new, _ = qkv.shape
    qkv = qkv.reshape(batch, new, -1, h.d_k)
    q = tap(f"{at}.q", qkv[:, :, : h.n_head])  # [batch, position, head, d_k]
    k = tap(f"{at}.k", qkv[:, :, h.n_head : h.n_head + h.n_kv_head])  # [..., kv_head, d_k]
    v = tap(f"{at}.v", qkv[:, :, h.n_head + h.n_kv_head :])
    if hasattr(w, "q_norm"):
        q, k = (
            rms_norm(q, w.q_norm, f"{at}.q_norm", run),
            rms_norm(k, w.k_norm, f"{at}.k_norm", run),
        )
    by = turns(new, run)
    if run.wants(f"{at}.rot_q", f"{at}.rot_k", *inside(layer)):
        q, k = (turned(x.swapaxes(1, 2), by).swapaxes(1, 2) for x in (q, k))
        q, k = tap(f"{at}.rot_q", q), tap(f"{at}.rot_k", k)
        return attended(q, k, v, layer, run)
    return attended(q, k, v, layer, run, by)


def mlp(x: Array, w: Any, layer: int, run: Pass) -> Array:
    """x [batch, position, n_embd] -> [batch, position, n_inner]: its neurons, each what W_up makes
    of x times how far its gate is open, silu(W_gate · x) with silu(g) = g · sigmoid(g)."""
    at, norm = f"blocks.{layer}.mlp", f"blocks.{layer}.ln2"
    if not run.wants(f"{at}.pre", f"{at}.pre_linear"):
        return run.tap(f"{at}.post", linear_of_norm(x, w.ln_2, w.mlp.c_fc, norm, run, swiglu=True))
    both, n = linear_of_norm(x, w.ln_2, w.mlp.c_fc, norm, run), run.hparams.n_inner
    gate, up = run.tap(f"{at}.pre", both[..., :n]), run.tap(f"{at}.pre_linear", both[..., n:])
    return run.tap(f"{at}.post", run.backend.swiglu(gate, up))


def linear_of_norm(
    x: Array, norm: Any, w: Any, at: str, run: Pass, *, swiglu: bool = False
) -> Array:
    """x [..., n_embd] -> rms_norm(x) · W + bias [..., out]; in one step where nobody looks
    between the two."""
    if run.wants(f"{at}.scale", f"{at}.normalized", f"{at}.out"):
        return run.backend.linear(rms_norm(x, norm, at, run), w, swiglu=swiglu)
    epsilon = run.hparams.epsilon
    return run.backend.linear(x, w, norm=(norm.weight, norm.bias, epsilon), swiglu=swiglu)


def rms_norm(x: Array, w: Any, at: str, run: Pass) -> Array:
    """x [..., n] -> [..., n]: x / √(mean(x²) + ε) · gain (arXiv 1910.07467)"""
    backend, tap, epsilon = run.backend, run.tap, run.hparams.epsilon
    if not run.wants(f"{at}.scale", f"{at}.normalized"):
        return tap(f"{at}.out", backend.layer_norm(x, w.weight, None, epsilon))
    scale = tap(f"{at}.scale", backend.sqrt(backend.mean(x * x) + epsilon))
    return tap(f"{at}.out", tap(f"{at}.normalized", x / scale) * w.weight)


def unembed(x: Array, weights: Any, run: Pass) -> Array:
    """x [batch, position, n_embd] -> logits [batch, position, n_vocab]: how well does x match each
    token's row of the output layer, which is the dictionary ("tied") or a table of its own?"""
    table = weights.wte if run.hparams.tied else weights.lm_head
    return run.tap("logits", run.backend.unembed(x, table))
