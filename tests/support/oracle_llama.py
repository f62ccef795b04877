"""Llama's forward pass from the papers' formulas, number by number where that is plainest, float64:
what `model/llama.py` is held to. One text, no cache, no fusing, nothing shared with the package.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["oracle"]


def _norm(x, gain, epsilon):
    scale = np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return scale, x / scale, x / scale * gain


def turned(x: np.ndarray, position: int, theta: float) -> np.ndarray:
    """x [d_k]: pair (i, i + d_k/2), a complex number, turned by position · theta^(-2i/d_k)."""
    half = len(x) // 2
    pairs = x[:half] + 1j * x[half:]
    pairs = pairs * np.exp(1j * position * theta ** (-2 * np.arange(half) / len(x)))
    return np.concatenate([pairs.real, pairs.imag])


def oracle(tokens: list[int], p: dict[str, np.ndarray], hparams: Any) -> dict[str, np.ndarray]:
    """Every value by the tap's name, without the batch axis."""
    h, n = hparams, len(tokens)
    p = {name: np.asarray(value, np.float64) for name, value in p.items()}
    values: dict[str, np.ndarray] = {}

    def keep(name, value):
        values[name] = np.asarray(value)
        return values[name]

    def norm(x, at, gain):
        parts = _norm(x, gain, h.epsilon)
        for name, value in zip(("scale", "normalized", "out"), parts, strict=True):
            keep(f"{at}.{name}", value)
        return parts[-1]

    x = keep("embed", p["wte.weight"][tokens])
    for i in range(h.n_layer):
        at, w = f"blocks.{i}", f"h.{i}"
        keep(f"{at}.resid_pre", x)
        out = norm(x, f"{at}.ln1", p[f"{w}.ln_1.weight"])
        qkv = out @ p[f"{w}.attn.c_attn.weight"] + p.get(f"{w}.attn.c_attn.bias", 0.0)
        ends = np.cumsum([h.n_head * h.d_head, h.n_kv_head * h.d_head])
        q, k, v = (part.reshape(n, -1, h.d_head) for part in np.split(qkv, ends, 1))
        keep(f"{at}.attn.q", q), keep(f"{at}.attn.k", k), keep(f"{at}.attn.v", v)
        if h.qk_norm:
            q = norm(q, f"{at}.attn.q_norm", p[f"{w}.attn.q_norm.weight"])
            k = norm(k, f"{at}.attn.k_norm", p[f"{w}.attn.k_norm.weight"])
        theta = h.rope.theta
        q = np.array([[turned(head, t, theta) for head in row] for t, row in enumerate(q)])
        k = np.array([[turned(head, t, theta) for head in row] for t, row in enumerate(k)])
        keep(f"{at}.attn.rot_q", q), keep(f"{at}.attn.rot_k", k)
        qk = np.empty((h.n_head, n, n))
        z = np.empty((n, h.n_head, h.d_head))
        scores, pattern = np.full_like(qk, -np.inf), np.zeros_like(qk)
        for head in range(h.n_head):
            group = head * h.n_kv_head // h.n_head
            for t in range(n):
                for s in range(n):
                    qk[head, t, s] = q[t, head] @ k[s, group] / math.sqrt(h.d_head)
                scores[head, t, : t + 1] = qk[head, t, : t + 1]
                shares = np.exp(qk[head, t, : t + 1] - qk[head, t, : t + 1].max())
                pattern[head, t, : t + 1] = shares / shares.sum()
                z[t, head] = pattern[head, t, : t + 1] @ v[: t + 1, group]
        keep(f"{at}.attn.qk", qk), keep(f"{at}.attn.scores", scores)
        keep(f"{at}.attn.pattern", pattern), keep(f"{at}.attn.z", z)
        w_output = p[f"{w}.attn.c_proj.weight"].reshape(h.n_head, h.d_head, -1)
        keep(f"{at}.attn.result", np.einsum("thd,hdn->thn", z, w_output))
        x = x + keep(f"{at}.attn_out", z.reshape(n, -1) @ p[f"{w}.attn.c_proj.weight"])
        keep(f"{at}.resid_mid", x)
        out = norm(x, f"{at}.ln2", p[f"{w}.ln_2.weight"])
        gate, up = np.split(out @ p[f"{w}.mlp.c_fc.weight"], 2, 1)
        keep(f"{at}.mlp.pre", gate), keep(f"{at}.mlp.pre_linear", up)
        post = keep(f"{at}.mlp.post", gate / (1 + np.exp(-gate)) * up)
        x = x + keep(f"{at}.mlp_out", post @ p[f"{w}.mlp.c_proj.weight"])
        keep(f"{at}.resid_post", x)
    x = norm(x, "ln_final", p["ln_f.weight"])
    keep("logits", x @ p["wte.weight" if h.tied else "lm_head.weight"].T)
    return values
