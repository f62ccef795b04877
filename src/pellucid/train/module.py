"""A model's parameters as torch modules, so that DDP, FSDP and torch.compile see what they expect.

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
from ..families import family_of
from ..hparams import HParams
from ..model import Pass, transformer
from ..model.pages import page_of
from ..weights import shapes
from .batches import IGNORE
from .distributed import gathered
from .loss import Unread, summed_loss

__all__ = ["Block", "GPTModule", "TransformerModule", "Tree", "Weights"]

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


class Tree(Weights):
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
        self._unread = self.run.on(Unread(backend))
        paths = {name: name.split(".")[:-1] for name in shapes(hparams)}
        for path in paths.values():  # the blocks come first
            if "h" in path:
                self._branch(path[: path.index("h") + 2])
        for name, path in paths.items():
            value = torch.tensor(np.asarray(tensors[name], np.float32), device=backend.device)
            leaf = name.rpartition(".")[2]
            self._branch(path).register_parameter(leaf, nn.Parameter(value))
        for at, own in family_of(hparams).branches(hparams).items():
            if own.kind in ("linear", "norm") and not own.bias:
                self.get_submodule(at).register_parameter("bias", None)

    def _branch(self, path: list[str]) -> nn.Module:
        branch: nn.Module = self
        for step in path:
            if step not in branch._modules:
                kind = nn.ModuleList if step == "h" else Block if step.isdigit() else Weights
                branch.add_module(step, kind())
            branch = branch.get_submodule(step)
        return branch

    def tensors(self) -> dict[str, np.ndarray]:
        """The weights by name, in float32; with an adapter in them where there is one."""
        values = {}
        with torch.no_grad():
            for name in shapes(self.hparams):
                path, leaf = name.rsplit(".", 1)
                weight = getattr(self.get_submodule(path), leaf)
                values[name] = gathered(weight.detach()).float().cpu().numpy()
        return values


class GPTModule(Tree):
    """A model of one stack, which predicts the next token."""

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """tokens [batch, position] -> logits [batch, position, n_vocab]; with targets
        [batch, position] -> the sum of -log p(target) in nats, over all but IGNORE."""
        forward = page_of(self.hparams).forward
        if targets is None:
            return forward(tokens, self, self.run)
        x, weight = forward(tokens, self, self._unread)
        return summed_loss(x.reshape(-1, self.hparams.n_embd), weight, targets.reshape(-1))


class TransformerModule(Tree):
    """An encoder-decoder, which writes one text as another.

    label_smoothing: the share of each target that is given to all tokens alike, while training.
    """

    def __init__(
        self,
        hparams: HParams,
        tensors: Mapping[str, np.ndarray],
        backend: TorchBackend,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(hparams, tensors, backend)
        table = transformer.sinusoids(hparams.n_ctx, hparams.n_embd)
        self.register_buffer("sinusoids", torch.tensor(table, device=backend.device).float())
        self.label_smoothing = label_smoothing

    def forward(
        self, source: Tensor, lengths: Tensor, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """source [batch, n], of which `lengths` are no padding, inputs, targets [batch, position]
        -> (the sum of the losses in nats, over all but IGNORE; how many targets are likeliest)"""
        logits = transformer.forward(source, inputs, self, self.run, lengths)
        rows = logits.reshape(-1, self.hparams.n_vocab).float()
        wanted = targets.reshape(-1)
        loss = F.cross_entropy(
            rows,
            wanted,
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing if self.backend.training else 0.0,
        )
        return loss, (rows.argmax(-1) == wanted).sum()
