"""GPT-2's forward pass, in the order in which the data flows. Nothing else.

    tokens ─ embed ─┬─ block × n_layer ─┬─ final norm ─ unembed ─ logits
                    │   attention, MLP  │
                    └ each adds to x, the residual stream [batch, position, n_embd]

Sources: "Attention Is All You Need" (arXiv 1706.03762) and openai/gpt-2 `src/model.py`.
Arrays are a backend's; each step says its shapes. Every value passes through the tap,
`tap(name, value) -> value`: returned unchanged it is read, returned otherwise it is replaced.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array
from ..errors import ContextError, InputError
from .attend import head_by_head, multi_head_attention
from .one_pass import Pass

__all__ = ["EPSILON", "block", "embed", "forward", "layer_norm", "mlp", "unembed"]

EPSILON = 1e-5  # of every layer norm


def forward(tokens: Array, weights: Any, run: Pass) -> Array:
    """tokens [batch, position] -> logits [batch, position, n_vocab]

    run: where it runs, and what came before; the tokens follow that, and its cache grows by them.
    With run.last_only only each row's last logits, [batch, 1, n_vocab]; with run.only those at
    some positions.
    Raises ContextError when more tokens come than n_ctx holds.
    """
    _check_room(tokens, run)
    x = embed(tokens, weights, run)  # [batch, position, n_embd]
    for layer, w in enumerate(weights.h):
        x = run.apply_block(block, x, w, layer, run)
    x = layer_norm(x, weights.ln_f, "ln_final", run)
    if run.only is not None:
        x = x[:, run.backend.ids(run.only)]
    elif run.last_only:
        x = _last(x, run)  # [batch, 1, n_embd]
    logits = unembed(x, weights, run)  # [batch, position, n_vocab]
    if run.cache is not None:
        run.cache.advance(tokens.shape[1] if run.lengths is None else run.lengths)
    return logits


def embed(tokens: Array, weights: Any, run: Pass) -> Array:
    """tokens [batch, position] -> x [batch, position, n_embd]

    Look each token up in the dictionary and get back an array of numbers; add to it the
    array that belongs to its position.
    """
    backend = run.backend
    token = run.tap("embed", backend.embedding(weights.wte, tokens))
    positions = run.positions(tokens.shape[1])
    position = run.tap("pos_embed", weights.wpe.weight[positions])
    return backend.dropout(token + position)


def block(x: Array, w: Any, layer: int, run: Pass) -> Array:
    """x [batch, position, n_embd] -> the same shape: one layer. Where nothing else of the last
    one is asked for, the last position's row alone.

    The tokens look at each other (attention), then each works for itself (MLP); both add their
    result to the residual stream. The norm comes before each: "pre-LayerNorm".
    """
    at, tap = f"blocks.{layer}", run.tap
    x = tap(f"{at}.resid_pre", x)
    # W_Query, W_Key, W_Value of all heads in one product: [batch, position, 3 · n_embd]
    qkv = linear_of_norm(x, w.ln_1, w.attn.c_attn, f"{at}.ln1", run)
    z = multi_head_attention(qkv, layer, run)
    x = x[:, -z.shape[1] :]
    heads = f"{at}.attn.result"
    x = tap(f"{at}.resid_mid", plus_linear(x, z, w.attn.c_proj, f"{at}.attn_out", run, heads))
    post = mlp(x, w, layer, run)
    return tap(f"{at}.resid_post", plus_linear(x, post, w.mlp.c_proj, f"{at}.mlp_out", run))


def linear_of_norm(x: Array, norm: Any, w: Any, at: str, run: Pass, *, gelu: bool = False) -> Array:
    """x [..., n_embd] -> layer_norm(x) · W + bias [..., out]; in one step where nobody looks
    between the two."""
    if run.watched and run.wants(f"{at}.scale", f"{at}.normalized", f"{at}.out"):
        return run.backend.linear(layer_norm(x, norm, at, run), w, gelu=gelu)
    return run.backend.linear(x, w, norm=(norm.weight, norm.bias, EPSILON), gelu=gelu)


def plus_linear(x: Array, y: Array, w: Any, name: str, run: Pass, heads: str = "") -> Array:
    """x [..., n_embd], y [..., in] -> x + (y · W + bias); in one step where nobody looks between.

    name: of what is added to x. heads: of the same, head by head, where y is theirs.
    """
    in_heads = bool(heads) and run.wants(heads)
    if not in_heads and not run.wants(name):
        return run.backend.linear(y, w, add=x)
    out = head_by_head(y, w, heads, run) if in_heads else run.backend.linear(y, w)
    return x + run.tap(name, run.backend.dropout(out))


def layer_norm(x: Array, w: Any, at: str, run: Pass) -> Array:
    """x [..., n_embd] -> [..., n_embd]: (x - mean) / deviation · gain + bias"""
    backend, tap = run.backend, run.tap
    if not (run.watched and run.wants(f"{at}.scale", f"{at}.normalized")):
        return tap(f"{at}.out", backend.layer_norm(x, w.weight, w.bias, EPSILON))
    centred = x - backend.mean(x)
    scale = tap(f"{at}.scale", backend.sqrt(backend.mean(centred * centred) + EPSILON))
    normalized = tap(f"{at}.normalized", centred / scale)
    return tap(f"{at}.out", normalized * w.weight + w.bias)


def mlp(x: Array, w: Any, layer: int, run: Pass) -> Array:
    """x [batch, position, n_embd] -> [batch, position, 4 · n_embd]: its neurons, of which c_proj
    then makes what is added to x."""
    at, norm = f"blocks.{layer}.mlp", f"blocks.{layer}.ln2"
    if run.watched and run.wants(f"{at}.pre"):
        pre = run.tap(f"{at}.pre", linear_of_norm(x, w.ln_2, w.mlp.c_fc, norm, run))
        return run.tap(f"{at}.post", run.backend.gelu(pre))
    return run.tap(f"{at}.post", linear_of_norm(x, w.ln_2, w.mlp.c_fc, norm, run, gelu=True))


def unembed(x: Array, weights: Any, run: Pass) -> Array:
    """x [batch, position, n_embd] -> logits [batch, position, n_vocab]

    How well does x match each token's embedding? The same table as at the input ("tied").
    """
    return run.tap("logits", run.backend.unembed(x, weights.wte))


def _last(x: Array, run: Pass) -> Array:
    """[batch, position, n] -> [batch, 1, n]: each row's last position that is not padding"""
    if run.lengths is None:
        return x[:, -1:]
    rows = run.backend.ids(list(range(x.shape[0])))
    return x[rows, run.backend.ids(run.lengths) - 1][:, None]


def _check_room(tokens: Array, run: Pass) -> None:
    batch, new = tokens.shape
    if run.cache is None:
        if new > run.hparams.n_ctx:
            raise ContextError(
                f"{new} tokens exceed the context window of n_ctx = {run.hparams.n_ctx}"
            )
        return
    if run.cache.batch != batch:
        raise InputError(f"the cache holds {run.cache.batch} sequences, the tokens are {batch}")
    run.cache.check_room(new)
