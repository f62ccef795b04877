"""Small models with random weights that are large enough to show whatever is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.backend import get_backend
from pellucid.families.llama import LlamaHParams
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise, shapes
from support.vocabulary import MERGES, VOCAB

__all__ = [
    "SPECIAL",
    "Reader",
    "lively",
    "lively_gpt",
    "llama_gpt",
    "model",
    "near",
    "parameters",
    "run",
]

_GAINS = tuple(f"{norm}.weight" for norm in ("ln_1", "ln_2", "ln_f", "q_norm", "k_norm"))
SPECIAL = {"<|endoftext|>": 257}


def parameters(hparams: HParams, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers in every tensor, biases too; the norms' gains around 1."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape) * (0.3 if len(shape) > 1 else 0.5)
        + (1.0 if name.endswith(_GAINS) else 0.0)
        for name, shape in shapes(hparams).items()
    }


def lively(hparams: HParams, seed: int = 1) -> dict[str, np.ndarray]:
    """As a training starts, in float64, but with matrices so large that predictions differ."""
    tensors = initialise(hparams, seed=seed, dtype="float64")
    return {n: v * 8 if n.endswith("weight") and v.ndim == 2 else v for n, v in tensors.items()}


def model(
    hparams: HParams,
    tensors: Mapping[str, np.ndarray],
    backend: str = "numpy",
    dtype: str = "float32",
    threads: int | None = None,
) -> Model:
    """The compiled backend has no float64: there, float32 stands for it (`near`)."""
    if (backend, dtype) == ("native", "float64"):
        dtype = "float32"
    return Model.of(hparams, tensors, get_backend(backend, dtype=dtype, threads=threads))


def near(backend: str, in_float64: float, *values: np.ndarray) -> float:
    """How near a backend comes to exact numbers around 1, where those in float64 come so near; in
    float32, to values as large as these."""
    if backend != "native":
        return in_float64
    finite = [np.abs(v[np.isfinite(v)]).max(initial=0) for v in values]
    return 1e-4 * max([1.0, *finite])


def run(m: Model, tokens: Any, **options: Any) -> np.ndarray:
    """The logits of a forward pass. options: of `Model.forward`."""
    return m.backend.to_numpy(m.forward(np.asarray(tokens), **options))


class Reader:
    """A tap that reads: `seen`, every value by its name."""

    def __init__(self, m: Model) -> None:
        self.m = m
        self.seen: dict[str, np.ndarray] = {}

    def __call__(self, name: str, value: Any) -> Any:
        self.seen[name] = self.m.backend.to_numpy(value)
        return value


def lively_gpt(
    n_ctx: int = 12,
    special: Mapping[str, int] = SPECIAL,
    backend: str = "numpy",
    dtype: str = "float64",
) -> tuple[GPT, dict[str, np.ndarray]]:
    """A model over the small vocabulary, and its tensors."""
    vocab = VOCAB if special else {t: i for t, i in VOCAB.items() if t not in SPECIAL}
    tokenizer = Tokenizer(vocab, MERGES, special)
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=n_ctx, n_embd=16, n_head=2, n_layer=2)
    tensors = lively(hparams)
    return GPT(model(hparams, tensors, backend, dtype), tokenizer, name="tiny"), tensors


def llama_gpt(
    backend: str = "numpy",
    dtype: str = "float64",
    *,
    tokenizer: Tokenizer | None = None,
    template: str | None = None,
    **changes: Any,
) -> GPT:
    """A tiny Llama, heads of keys shared by two heads of queries; changes: of its sizes."""
    tokenizer = tokenizer or Tokenizer(VOCAB, MERGES, SPECIAL)
    sizes = {"n_ctx": 16, "n_kv_head": 2, "d_head": 6, "n_inner": 20, **changes}
    hparams = LlamaHParams(n_vocab=tokenizer.n_vocab, n_embd=16, n_head=4, n_layer=2, **sizes)
    made = model(hparams, lively(hparams), backend, dtype)
    return GPT(made, tokenizer, name="tiny", template=template)


def log_likelihood(gpt: GPT, before: list[int], scored: list[int]) -> float:
    """Of `scored` after `before`, token by token, each from all that stands before it, in nats."""
    ids, total = list(before), 0.0
    for token in scored:
        row = gpt.logits(ids)[-1].astype(np.float64)
        total += row[token] - row.max() - np.log(np.exp(row - row.max()).sum())
        ids.append(token)
    return float(total)
