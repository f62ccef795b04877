"""GPT-2's parameters as torch modules, so that DDP, FSDP and torch.compile see what they expect.

They hold parameters and compute nothing of their own: the forward pass is made of `model`'s
functions, the same that chat. This is the one place where a block is *called* as a module:
whatever is put around a block before the loop (FSDP gathers its weights, hooks, recomputation)
takes effect there, and the model knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..backend.torch import TorchBackend
from ..hparams import HParams
from ..model import Pass
from ..model.pages import page_of
from ..weights import shapes
from .batches import IGNORE
from .distributed import gathered

__all__ = ["Block", "GPTModule", "Weights"]

Tensor = Any


class Weights(nn.Module):  # type: ignore[misc]
    """A branch of the tree of weights."""


class Block(Weights):
    """The branch of one block. Called, it computes what `model.block` does."""

    def forward(self, block: Callable[..., Tensor], x: Tensor, layer: int, run: Pass) -> Tensor:
        """x [batch, position, n_embd] -> x [batch, position, n_embd]"""
        return block(x, self, layer, run)


def _as_module(block: Callable[..., Tensor], x: Tensor, w: Block, layer: int, run: Pass) -> Tensor:
    result: Tensor = w(block, x, layer, run)
    return result


class GPTModule(Weights):
    """The whole tree: `wte.weight`, `h.0.attn.c_attn.weight`, ... as in `weights.shapes`.

    tensors: starting values by name. backend: one that is made for training.
    """

    def __init__(
        self, hparams: HParams, tensors: Mapping[str, np.ndarray], backend: TorchBackend
    ) -> None:
        super().__init__()
        self.hparams = hparams
        self.backend = backend
        self.run = Pass(hparams, backend, apply_block=_as_module)
        self.h = nn.ModuleList(Block() for _ in range(hparams.n_layer))
        for name in shapes(hparams):
            *path, leaf = name.split(".")
            branch: nn.Module = self
            for step in path:
                if step not in branch._modules:
                    branch.add_module(step, Weights())
                branch = branch.get_submodule(step)
            value = torch.tensor(np.asarray(tensors[name], np.float32), device=backend.device)
            branch.register_parameter(leaf, nn.Parameter(value))

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """tokens [batch, position] -> logits [batch, position, n_vocab]; with targets
        [batch, position] -> the sum of -log p(target) in nats, over all but IGNORE."""
        logits = page_of(self.hparams).forward(tokens, self, self.run)
        if targets is None:
            return logits
        rows = logits.reshape(-1, self.hparams.n_vocab)
        return F.cross_entropy(
            rows.float(), targets.reshape(-1), ignore_index=IGNORE, reduction="sum"
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """The weights by name, in float32; with an adapter in them where there is one."""
        values = {}
        with torch.no_grad():
            for name in shapes(self.hparams):
                path, leaf = name.rsplit(".", 1)
                weight = getattr(self.get_submodule(path), leaf)
                values[name] = gathered(weight.detach()).float().cpu().numpy()
        return values
