"""The parameters of a GPT: their names, their shapes, and the tree the model reads them from.

A family's record lists its branches (`families`). The names are the attribute paths of the tree:
`h.3.attn.c_attn.weight` is `weights.h[3].attn.c_attn.weight`. Every family has `wte`, `h`, `ln_f`,
and in each of `h` the maps `attn.c_attn` (queries, keys, values side by side) and `attn.c_proj`.
The torch modules that train have the same paths, so both trees fit the same model functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import CheckpointError
from .families import family_of
from .hparams import HParams

if TYPE_CHECKING:
    from .backend import Backend

__all__ = [
    "Affine",
    "Embedding",
    "Weights",
    "as_numpy",
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
    """A norm's gain and bias, or a linear map stored as GPT-2 stores it: [in, out]. bias: None
    where the family has none."""

    weight: Array
    bias: Array | None = None


Weights = Any  # a tree of `Embedding`, `Affine`, namespaces and, for numbered steps, tuples


def shapes(hparams: HParams) -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape, in the order the data flows."""
    table: dict[str, tuple[int, ...]] = {}
    for path, branch in family_of(hparams).branches(hparams).items():
        table[f"{path}.weight"] = branch.shape
        if branch.bias:
            table[f"{path}.bias"] = branch.shape[-1:]
    return table


def unflatten(tensors: Mapping[str, Array], hparams: HParams) -> Weights:
    """Names → tree. Raises CheckpointError for a missing, extra or wrongly shaped tensor."""
    expected = shapes(hparams)
    if missing := [name for name in expected if name not in tensors]:
        raise CheckpointError(f"missing tensors: {_some(missing)}")
    if extra := [name for name in tensors if name not in expected]:
        title = family_of(hparams).title
        raise CheckpointError(f"tensors that no {title} of this shape has: {_some(extra)}")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(tensors[name].shape)}; "
                f"the hyperparameters ask for {list(shape)}"
            )
    return _tree(
        {
            path: Embedding(tensors[f"{path}.weight"])
            if branch.kind in ("table", "positions")
            else Affine(tensors[f"{path}.weight"], tensors.get(f"{path}.bias"))
            for path, branch in family_of(hparams).branches(hparams).items()
        }
    )


def prepared(weights: Weights, hparams: HParams, backend: Backend) -> Weights:
    """The same tree as a backend computes with it: tables of tokens and linear maps are its own
    business, norms and positions stay arrays."""
    leaves = {}
    for path, branch in family_of(hparams).branches(hparams).items():
        w = _at(weights, path)
        if branch.kind in ("table", "linear"):
            leaves[path] = backend.prepare(w)
        else:
            leaves[path] = type(w)(*(None if x is None else backend.asarray(x) for x in w))
    return _tree(leaves)


def flatten(
    weights: Weights,
    hparams: HParams,
    dense: Callable[[Any], Array] | None = None,
    under: str = "",
) -> dict[str, Array]:
    """Tree → names, in the order of `shapes`; the inverse of `unflatten`.

    dense: the numbers of a weight that a backend prepared (`Backend.dense`). under: only names
    that begin so.
    """
    tensors: dict[str, Array] = {}
    for path, branch in family_of(hparams).branches(hparams).items():
        if not path.startswith(under):
            continue
        w = _at(weights, path)
        as_it_is = dense is None or branch.kind in ("norm", "positions")
        tensors[f"{path}.weight"] = w.weight if dense is None or as_it_is else dense(w)
        if branch.bias:
            tensors[f"{path}.bias"] = w.bias
    return tensors


def as_numpy(
    weights: Weights, hparams: HParams, backend: Backend, under: str = ""
) -> dict[str, np.ndarray]:
    """`flatten` of what a backend prepared, as numpy sees its numbers."""
    found = flatten(weights, hparams, backend.dense, under)
    return {name: backend.to_numpy(value) for name, value in found.items()}


def _at(weights: Weights, path: str) -> Any:
    w = weights
    for step in path.split("."):
        w = w[int(step)] if step.isdigit() else getattr(w, step)
    return w


def _tree(leaves: Mapping[str, Any]) -> Weights:
    """What stands at dotted paths → a tree of them."""
    steps: dict[str, dict[str, Any]] = {}
    for path, leaf in leaves.items():
        first, _, rest = path.partition(".")
        steps.setdefault(first, {})[rest] = leaf
    grown = {step: below[""] if "" in below else _tree(below) for step, below in steps.items()}
    if all(step.isdigit() for step in grown):
        return tuple(grown[str(i)] for i in range(len(grown)))
    return SimpleNamespace(**grown)


def initialise(
    hparams: HParams,
    seed: int = 0,
    dtype: Any = np.float32,
) -> dict[str, np.ndarray]:
    """Fresh parameters: normal with each branch's own deviation (GPT-2's: `families.gpt2`), norms
    at gain 1, biases 0. Returns names → arrays.
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for path, branch in family_of(hparams).branches(hparams).items():
        if branch.kind == "norm":
            tensors[f"{path}.weight"] = np.ones(branch.shape, dtype)
        else:
            drawn = rng.standard_normal(branch.shape, dtype=np.float32)
            drawn *= np.float32(branch.deviation)
            tensors[f"{path}.weight"] = drawn.astype(dtype, copy=False)
        if branch.bias:
            tensors[f"{path}.bias"] = np.zeros(branch.shape[-1:], dtype)
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
