"""The walk's steps within a layer: self-attention, its heads, their synthesis, the MLP."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..draw.notation import percent, written
from ..families import family_of
from .lens import read_out
from .patterns import summary
from .step import Seen, Step, pictures_of
from .views import norms_of
from .words import said

__all__ = ["heads", "layers", "self_attention", "synthesis"]


def self_attention(seen: Seen) -> Step:
    at, h, family = seen.attn, seen.gpt.hparams, family_of(seen.gpt.hparams)
    d_k, shared = h.d_k, seen.head // (h.n_head // h.n_kv_head)
    q, z = (seen.values[f"{at}.{name}"][:, seen.head] for name in "qz")
    k, v = (seen.values[f"{at}.{name}"][:, shared] for name in "kv")
    asked = seen.values[f"{seen.block}.{family.query}"][:, seen.head]
    offered = seen.values[f"{seen.block}.{family.key}"][:, shared]
    turned = [] if family.query == "attn.q" else [family.query, family.key]
    bias_too = " + bias" if h.qkv_bias else ""
    qk, scores, pattern = (
        seen.values[f"{at}.{name}"][seen.head] for name in ("qk", "scores", "pattern")
    )
    normed = seen.values[f"{seen.block}.ln1.out"]
    here, column, bias = seen.position, *_query_weights(seen)
    most = int(pattern[here, : here + 1].argmax())
    other, root = seen.names[most], math.sqrt(d_k)
    return Step(
        **said(
            5,
            seen.family,
            layer=str(seen.layer),
            head=str(seen.head),
            d_k=str(d_k),
            n_head=str(h.n_head),
            **({"n_kv_head": str(h.n_kv_head)} if h.n_kv_head < h.n_head else {}),
            name=seen.name,
            other=other,
            share=percent(float(pattern[here, most])),
        ),
        values={
            "W_Query[:, 0]": column,
            **seen.of(f"{seen.block}.ln1.out"),
            **seen.of(*(f"{at}.{name}" for name in ("q", "k", "v"))),
            **seen.of(*(f"{seen.block}.{name}" for name in turned)),
            **seen.of(*(f"{at}.{name}" for name in ("qk", "scores", "pattern", "z"))),
        },
        pictures=(
            seen.rows(normed, "norm(x)"),
            seen.rows(q, f"query = W_Query · norm(x){bias_too}", "query"),
            *seen.sum(
                ("norm(x)", normed[here]),
                ("W_Query", column),
                f"One cell worked out: the first number of the query of “{seen.name}” is the "
                f"sum of these {len(column)} products, {_three(normed[here] @ column)}"
                + (f", and the bias, {_three(bias)}: {_three(q[here, 0])}." if h.qkv_bias else "."),
            ),
            seen.rows(k, f"key = W_Key · norm(x){bias_too}", "key"),
            seen.rows(v, f"value = W_Value · norm(x){bias_too}", "value"),
            *(
                [
                    seen.rows(asked, "query, each pair turned by its position", "query"),
                    seen.rows(offered, "key, each pair turned by its position", "key"),
                ]
                if turned
                else []
            ),
            seen.pairs(qk, f"q · kᵀ / √d_k, √{d_k} = {root:.3f}"),
            *seen.sum(
                (f"query {seen.name}", asked[here]),
                (f"key {other}", offered[most]),
                f"One cell worked out: the {d_k} products add up to "
                f"{_three(asked[here] @ offered[most])}, "
                f"divided by √{d_k} that is {_three(qk[here, most])}, how well “{seen.name}” "
                f"matches “{other}”.",
            ),
            seen.pairs(scores, _mask(seen)),
            seen.pairs(pattern, "softmax: each row becomes shares that sum to 1", ground=True),
            seen.rows(z, "z = shares · value: each token takes that mixture of the values"),
            *seen.sum(
                ("share", pattern[here, : here + 1]),
                ("value[0]", v[: here + 1, 0]),
                f"One cell worked out: the first number of z of “{seen.name}” is "
                f"{_sum_of(here + 1)}: {_three(z[here, 0])}.",
            ),
        ),
    )


def _mask(seen: Seen) -> str:
    reach = seen.gpt.hparams.reach(seen.layer)
    if reach is None:
        return "mask: no token sees a later one"
    return f"mask: each token sees the last {reach}, its own among them"


def _query_weights(seen: Seen) -> tuple[np.ndarray, float]:
    """-> what makes the first number of the head's query: column of W_Query [n_embd], bias"""
    to_numpy = seen.gpt.model.backend.to_numpy
    weight, bias = (to_numpy(array) for array in seen.gpt.model.w_query(seen.layer))
    return weight[:, seen.head, 0], float(bias[seen.head, 0])


def _sum_of(n: int) -> str:
    return "this product" if n == 1 else f"the sum of these {n} products"


def _three(value: float) -> str:
    """With as many decimals as the numbers above it."""
    return written(float(value), digits=3)


def heads(seen: Seen) -> Step:
    n_head, n_layer = seen.gpt.hparams.n_head, seen.gpt.hparams.n_layer
    pattern = seen.values[f"{seen.attn}.pattern"][None]
    patterns = summary(seen.gpt, seen.ids, (seen.layer,), tuple(range(n_head)), pattern)
    return Step(
        **said(6, seen.family, n_head=str(n_head), n_layer=str(n_layer), layer=str(seen.layer)),
        values=seen.of(f"{seen.attn}.pattern", f"{seen.attn}.z"),
        pictures=pictures_of(patterns.sections(position=seen.position)),
    )


def synthesis(seen: Seen) -> Step:
    h, z = seen.gpt.hparams, seen.values[f"{seen.attn}.z"]
    concat = z.reshape(len(z), -1)
    sizes = {"n_head": str(h.n_head), "d_k": str(h.d_k), "n_embd": str(h.n_embd)}
    return Step(
        **said(7, seen.family, **sizes),
        values={
            "concat(z)": concat,
            **seen.of(f"{seen.block}.attn_out", f"{seen.block}.resid_mid"),
        },
        pictures=(
            seen.rows(concat, "concat(z_1 … z_h)"),
            seen.rows(seen.values[f"{seen.block}.attn_out"], "attn_out"),
            seen.rows(seen.values[f"{seen.block}.resid_mid"], "x"),
        ),
    )


def layers(seen: Seen) -> Step:
    names = (f"{seen.block}.mlp_out", f"{seen.block}.resid_post")
    ends = [f"blocks.{i}.resid_post" for i in range(seen.gpt.hparams.n_layer)]
    streams = [seen.recorded[name] for name in ("blocks.0.resid_pre", *ends)]
    norms, shown = norms_of(seen.gpt, seen.ids, seen.recorded), seen.shown
    norms = replace(
        norms,
        ids=tuple(norms.ids[i] for i in shown),
        tokens=tuple(norms.tokens[i] for i in shown),
        stream=norms.stream[:, shown],
        attention=norms.attention[:, shown],
        mlps=norms.mlps[:, shown],
    )
    lens = read_out(seen.gpt, seen.ids, tuple(shown), streams, seen.values["logits"][shown])
    return Step(
        **said(
            8,
            seen.family,
            n_layer=str(seen.gpt.hparams.n_layer),
            neurons=f"{seen.gpt.hparams.n_inner:,}",
        ),
        values=seen.of(*names),
        pictures=(
            seen.rows(seen.values[names[0]], "mlp(norm(x))", "mlp"),
            seen.rows(seen.values[names[1]], f"x, the output of layer {seen.layer}"),
            *pictures_of(norms.sections()),
            *pictures_of(lens.sections()),
        ),
    )
