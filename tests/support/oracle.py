"""GPT-2 from the formulas alone, in float64, one number at a time where that is bearable.

Written without a look at the package and without importing it: what it is held against must not
be what it was copied from. Sources: arXiv 1706.03762 (equation 1, §3.2.2), openai/gpt-2 model.py.
"""

from __future__ import annotations

import math

import numpy as np


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def norm(row: np.ndarray) -> tuple[float, np.ndarray]:
    mean = sum(row) / len(row)
    variance = sum((v - mean) ** 2 for v in row) / len(row)
    scale = math.sqrt(variance + 1e-5)
    return scale, np.array([(v - mean) / scale for v in row])


def softmax(row: np.ndarray) -> np.ndarray:
    top = max(row)
    powers = [math.exp(v - top) for v in row]
    return np.array([p / sum(powers) for p in powers])


def forward(
    tokens: list[int], p: dict[str, np.ndarray], n_head: int, n_layer: int, band: int = 10**9
) -> dict[str, np.ndarray]:
    """One sequence -> every value by its tap's name, without the batch axis. band: the keys that a
    query sees in every second layer, its own the last (GPT-3, arXiv 2005.14165 §2.1)."""
    p = {name: value.astype(np.float64) for name, value in p.items()}
    n = len(tokens)
    n_embd = p["wte.weight"].shape[1]
    d = n_embd // n_head
    seen: dict[str, np.ndarray] = {}

    seen["embed"] = np.array([p["wte.weight"][t] for t in tokens])
    seen["pos_embed"] = np.array([p["wpe.weight"][i] for i in range(n)])
    x = seen["embed"] + seen["pos_embed"]

    def norms(name: str, at: str) -> np.ndarray:
        rows = [norm(x[i]) for i in range(n)]
        seen[f"{at}.scale"] = np.array([[scale] for scale, _ in rows])
        seen[f"{at}.normalized"] = np.array([row for _, row in rows])
        seen[f"{at}.out"] = seen[f"{at}.normalized"] * p[f"{name}.weight"] + p[f"{name}.bias"]
        return seen[f"{at}.out"]

    for layer in range(n_layer):
        h, at = f"h.{layer}", f"blocks.{layer}"
        seen[f"{at}.resid_pre"] = x
        y = norms(f"{h}.ln_1", f"{at}.ln1")
        weight, bias = p[f"{h}.attn.c_attn.weight"], p[f"{h}.attn.c_attn.bias"]
        output = p[f"{h}.attn.c_proj.weight"]
        q, k, v, z = (np.zeros((n, n_head, d)) for _ in range(4))
        qk, scores, pattern = (np.zeros((n_head, n, n)) for _ in range(3))
        result = np.zeros((n, n_head, n_embd))
        for head in range(n_head):
            for part, target in enumerate((q, k, v)):
                columns = slice(part * n_embd + head * d, part * n_embd + (head + 1) * d)
                for i in range(n):
                    target[i, head] = y[i] @ weight[:, columns] + bias[columns]
            for i in range(n):
                for j in range(n):
                    qk[head, i, j] = sum(q[i, head] * k[j, head]) / math.sqrt(d)
                    hidden = j > i or (layer % 2 == 1 and j + band <= i)
                    scores[head, i, j] = -math.inf if hidden else qk[head, i, j]
                pattern[head, i] = softmax(scores[head, i])
                z[i, head] = sum(pattern[head, i, j] * v[j, head] for j in range(n))
                result[i, head] = z[i, head] @ output[head * d : (head + 1) * d]
        for name, value in {
            "q": q, "k": k, "v": v, "z": z, "qk": qk, "scores": scores, "pattern": pattern,
            "result": result,
        }.items():  # fmt: skip
            seen[f"{at}.attn.{name}"] = value
        seen[f"{at}.attn_out"] = result.sum(1) + p[f"{h}.attn.c_proj.bias"]
        x = x + seen[f"{at}.attn_out"]
        seen[f"{at}.resid_mid"] = x
        y = norms(f"{h}.ln_2", f"{at}.ln2")
        pre = y @ p[f"{h}.mlp.c_fc.weight"] + p[f"{h}.mlp.c_fc.bias"]
        post = np.array([[gelu(value) for value in row] for row in pre])
        seen[f"{at}.mlp.pre"], seen[f"{at}.mlp.post"] = pre, post
        seen[f"{at}.mlp_out"] = post @ p[f"{h}.mlp.c_proj.weight"] + p[f"{h}.mlp.c_proj.bias"]
        x = x + seen[f"{at}.mlp_out"]
        seen[f"{at}.resid_post"] = x
    y = norms("ln_f", "ln_final")
    seen["logits"] = np.array([[y[i] @ row for row in p["wte.weight"]] for i in range(n)])
    return seen
