"""LoRA (arXiv 2106.09685): the same model, whose weights are W + alpha / rank · A·B.

The module's attribute `weight` gives that sum (torch.nn.utils.parametrize), so the forward pass,
DDP, FSDP and `torch.compile` see nothing new; only A and B are trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from ..weights import fingerprint, shapes
from .adapter import TARGETS, Adapter, check, check_base
from .distributed import gathered
from .module import Tree

__all__ = ["LoRA", "adapter", "add_lora", "base", "load_adapter", "matrices", "restore"]

Tensor = Any


class LoRA(nn.Module):  # type: ignore[misc]
    """weight [in, out] -> weight + alpha / rank · A·B, with A [in, rank], B [rank, out].

    A begins random and B at zero, so that nothing changes at first (§4.1). A's entries are
    uniform in ±1/√in, as peft's and the authors' code (microsoft/LoRA) draw them. dropout: of
    the inputs to A, the same ones for all tokens of a micro-batch; only with gradients.
    """

    def __init__(
        self, weight: Tensor, rank: int, alpha: float, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        n_in, n_out = weight.shape
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        drawn = torch.rand(n_in, rank, generator=generator) * 2 - 1
        self.A = nn.Parameter((drawn / math.sqrt(n_in)).to(weight))
        self.B = nn.Parameter(weight.new_zeros(rank, n_out))

    def forward(self, weight: Tensor) -> Tensor:
        a = self.A
        if self.dropout and self.training and torch.is_grad_enabled():
            a = a * F.dropout(a.new_ones(len(a), 1), self.dropout)
        return weight + self.alpha / self.rank * (a @ self.B)


def add_lora(
    module: Tree,
    rank: int,
    alpha: float,
    targets: tuple[str, ...] = TARGETS,
    dropout: float = 0.0,
    seed: int = 0,
) -> None:
    """Freeze the module and give the targets of every block an adapter, without effect yet.

    Raises InputError for a rank, alpha or target out of range.
    """
    check(rank, alpha, targets)
    module.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for layer in range(module.hparams.n_layer):
        for target in TARGETS:
            if target in targets:
                branch = module.get_submodule(f"h.{layer}.{target}")
                lora = LoRA(branch.weight, rank, alpha, dropout, generator)
                parametrize.register_parametrization(branch, "weight", lora)


def matrices(module: Tree) -> dict[str, np.ndarray]:
    """A copy of the adapter's matrices by name, float32: "h.0.attn.c_attn.A" [in, rank], ..."""
    return {
        f"{path}.{part}": gathered(getattr(lora, part).detach()).float().cpu().numpy().copy()
        for path, lora in _loras(module).items()
        for part in ("A", "B")
    }


def restore(module: Tree, tensors: Mapping[str, np.ndarray]) -> None:
    """Put `matrices` back into a module that `add_lora` was applied to."""
    with torch.no_grad():
        for path, lora in _loras(module).items():
            for part in ("A", "B"):
                getattr(lora, part).copy_(torch.tensor(tensors[f"{path}.{part}"]))


def base(module: Tree) -> dict[str, np.ndarray]:
    """The frozen weights by their names in `weights.shapes`, in float32, without the adapter."""
    frozen = dict(module.named_parameters())
    tensors = {}
    for name in shapes(module.hparams):
        path, leaf = name.rsplit(".", 1)
        adapted = f"{path}.parametrizations.{leaf}.original"
        value = frozen[adapted if adapted in frozen else name].detach()
        tensors[name] = gathered(value).float().cpu().numpy()
    return tensors


def adapter(module: Tree) -> Adapter:
    """The adapter with all that is needed to merge it later. Every process must call it."""
    loras = _loras(module)
    targets = tuple(target for target in TARGETS if f"h.0.{target}" in loras)
    first = next(iter(loras.values()))
    return Adapter(
        rank=first.rank,
        alpha=first.alpha,
        targets=targets,
        base=fingerprint(base(module)),
        tensors=matrices(module),
    )


def load_adapter(module: Tree, saved: Adapter, dropout: float = 0.0) -> None:
    """Put an adapter onto the base it was trained on, unmerged.

    Raises CheckpointError when the module holds other weights.
    """
    check_base(module.tensors(), saved)
    add_lora(module, saved.rank, saved.alpha, saved.targets, dropout)
    restore(module, saved.tensors)


def _loras(module: Tree) -> dict[str, LoRA]:
    """Path of the adapted branch -> its parametrisation."""
    return {
        name.removesuffix(".parametrizations.weight.0"): part
        for name, part in module.named_modules()
        if isinstance(part, LoRA)
    }
