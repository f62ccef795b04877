"""The parameters of a GPT: their names, their shapes, and the tree the model reads them from.

The names are those of Hugging Face's GPT-2 without the `transformer.` in front, and they are
the attribute paths of the tree: `h.3.attn.c_attn.weight` is `weights.h[3].attn.c_attn.weight`.
The torch modules that train have the same paths, so both trees fit the same model functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import CheckpointError
from .hparams import HParams

if TYPE_CHECKING:
    from .backend import Backend

__all__ = [
    "Affine",
    "AttentionWeights",
    "BlockWeights",
    "Embedding",
    "MLPWeights",
    "Weights",
    "fingerprint",
    "flatten",
    "initialise",
    "prepared",
    "shapes",
    "unflatten",
]

Array = Any  # numpy.ndarray or torch.Tensor: whatever the backend computes with


class Embedding(NamedTuple):
    weight: Array  # [row, n_embd]


class Affine(NamedTuple):
    """A layer norm's gain and bias, or a linear map stored as GPT-2 stores it: [in, out]."""

    weight: Array
    bias: Array


class AttentionWeights(NamedTuple):
    c_attn: Affine  # W_Query, W_Key, W_Value side by side: [n_embd, 3 * n_embd]
    c_proj: Affine  # W_Output: [n_embd, n_embd]


class MLPWeights(NamedTuple):
    c_fc: Affine  # [n_embd, 4 * n_embd]
    c_proj: Affine  # [4 * n_embd, n_embd]


class BlockWeights(NamedTuple):
    ln_1: Affine
    attn: AttentionWeights
    ln_2: Affine
    mlp: MLPWeights


class Weights(NamedTuple):
    wte: Embedding  # token embeddings, [n_vocab, n_embd]; also the output layer
    wpe: Embedding  # position embeddings, [n_ctx, n_embd]
    h: tuple[BlockWeights, ...]
    ln_f: Affine


def _block_shapes(n_embd: int) -> dict[str, tuple[int, ...]]:
    return {
        "ln_1.weight": (n_embd,),
        "ln_1.bias": (n_embd,),
        "attn.c_attn.weight": (n_embd, 3 * n_embd),
        "attn.c_attn.bias": (3 * n_embd,),
        "attn.c_proj.weight": (n_embd, n_embd),
        "attn.c_proj.bias": (n_embd,),
        "ln_2.weight": (n_embd,),
        "ln_2.bias": (n_embd,),
        "mlp.c_fc.weight": (n_embd, 4 * n_embd),
        "mlp.c_fc.bias": (4 * n_embd,),
        "mlp.c_proj.weight": (4 * n_embd, n_embd),
        "mlp.c_proj.bias": (n_embd,),
    }


def shapes(hparams: HParams) -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape, in the order the data flows."""
    table: dict[str, tuple[int, ...]] = {
        "wte.weight": (hparams.n_vocab, hparams.n_embd),
        "wpe.weight": (hparams.n_ctx, hparams.n_embd),
    }
    block = _block_shapes(hparams.n_embd)
    for layer in range(hparams.n_layer):
        table.update({f"h.{layer}.{name}": shape for name, shape in block.items()})
    table["ln_f.weight"] = table["ln_f.bias"] = (hparams.n_embd,)
    return table


def unflatten(tensors: Mapping[str, Array], hparams: HParams) -> Weights:
    """Names → tree. Raises CheckpointError for a missing, extra or wrongly shaped tensor."""
    expected = shapes(hparams)
    if missing := [name for name in expected if name not in tensors]:
        raise CheckpointError(f"missing tensors: {_some(missing)}")
    if extra := [name for name in tensors if name not in expected]:
        raise CheckpointError(f"tensors that no GPT-2 of this shape has: {_some(extra)}")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(tensors[name].shape)}; "
                f"the hyperparameters ask for {list(shape)}"
            )

    def affine(path: str) -> Affine:
        return Affine(tensors[f"{path}.weight"], tensors[f"{path}.bias"])

    return Weights(
        wte=Embedding(tensors["wte.weight"]),
        wpe=Embedding(tensors["wpe.weight"]),
        h=tuple(
            BlockWeights(
                ln_1=affine(f"h.{i}.ln_1"),
                attn=AttentionWeights(affine(f"h.{i}.attn.c_attn"), affine(f"h.{i}.attn.c_proj")),
                ln_2=affine(f"h.{i}.ln_2"),
                mlp=MLPWeights(affine(f"h.{i}.mlp.c_fc"), affine(f"h.{i}.mlp.c_proj")),
            )
            for i in range(hparams.n_layer)
        ),
        ln_f=affine("ln_f"),
    )


def prepared(weights: Weights, backend: Backend) -> Weights:
    """The same tree as a backend computes with it: the table of tokens and linear maps are its own
    business, norms and positions stay arrays."""

    def norm(w: Affine) -> Affine:
        return Affine(backend.asarray(w.weight), backend.asarray(w.bias))

    return Weights(
        wte=backend.prepare(weights.wte),
        wpe=Embedding(backend.asarray(weights.wpe.weight)),
        h=tuple(
            BlockWeights(
                ln_1=norm(w.ln_1),
                attn=AttentionWeights(
                    backend.prepare(w.attn.c_attn), backend.prepare(w.attn.c_proj)
                ),
                ln_2=norm(w.ln_2),
                mlp=MLPWeights(backend.prepare(w.mlp.c_fc), backend.prepare(w.mlp.c_proj)),
            )
            for w in weights.h
        ),
        ln_f=norm(weights.ln_f),
    )


def flatten(
    weights: Weights, hparams: HParams, dense: Callable[[Any], Array] | None = None
) -> dict[str, Array]:
    """Tree → names, in the order of `shapes`; the inverse of `unflatten`.

    dense: the numbers of a weight that a backend prepared (`Backend.dense`).
    """
    tensors: dict[str, Array] = {}
    for name in shapes(hparams):
        *path, leaf = name.split(".")
        w: Any = weights
        for step in path:
            w = w[int(step)] if step.isdigit() else getattr(w, step)
        if dense is None or leaf == "bias" or path[-1].startswith(("ln_", "wpe")):
            tensors[name] = getattr(w, leaf)
        else:
            tensors[name] = dense(w)
    return tensors


def initialise(
    hparams: HParams,
    seed: int = 0,
    dtype: Any = np.float32,
) -> dict[str, np.ndarray]:
    """Fresh parameters as GPT-2 starts them (GPT-2 paper §2.3; openai/gpt-2 `model.py`).

    Normal with deviation 0.02 (0.01 for positions), the projections into the residual stream
    scaled by 1/√(2·n_layer), norms at gain 1 and bias 0. Returns names → arrays.
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, shape in shapes(hparams).items():
        if name.endswith("bias"):
            tensors[name] = np.zeros(shape, dtype)
        elif ".ln_" in name or name.startswith("ln_f"):
            tensors[name] = np.ones(shape, dtype)
        else:
            deviation = 0.01 if name == "wpe.weight" else 0.02
            if name.endswith("c_proj.weight"):
                deviation /= float(np.sqrt(2 * hparams.n_layer))
            drawn = rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
            tensors[name] = drawn.astype(dtype, copy=False)
    return tensors


def fingerprint(tensors: Mapping[str, np.ndarray]) -> str:
    """sha256 of a model's weights in float32, whatever kind of file they lie in."""
    import hashlib  # not for those who only compute

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {list(tensors[name].shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4").reshape(-1).view("u1").data)
    return digest.hexdigest()


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
