"""The loss over a large vocabulary, without ever holding all logits.

For 4,096 tokens and GPT-2's 50,257 entries they would be 0.8 GB, several times: the scores, their
softmax, its gradient. Here some rows of them live at a time, and while they do, their gradient is
made as well: softmax(logits) - 1 at the target, times the weights and the inputs. What is kept
until the backward pass has the shapes of the inputs and of the weights. The numbers are those of
`torch.nn.functional.cross_entropy`, but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch

from ..backend.backward import product, wide
from ..backend.torch import TorchBackend
from .batches import IGNORE, LOGITS

__all__ = ["Unread", "summed_loss"]

Tensor = Any

_FEW = 8  # a compiled loss has so many parts at most: each is compiled
_NEAR = 1 << 18  # numbers that stay in a core's cache from one operation to the next
_DEVICE = 1 << 28  # numbers at a time elsewhere, where each operation has its price


def summed_loss(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """x [row, n_embd], the output layer's weight [n_vocab, n_embd], targets [row] -> the sum of
    -log p(target) in nats, over all but IGNORE; float32, of float64 that.

    Under autocast the products are in its dtype, and what is summed over rows in float32.
    """
    kind = x.device.type
    if kind == "cpu" and not torch.compiler.is_compiling():  # else to count them is to wait
        learned = (targets != IGNORE).nonzero()[:, 0]
        if len(learned) < len(targets):
            x, targets = x[learned], targets[learned]
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    with torch.autocast(kind, enabled=False):
        loss: Tensor = _SummedLoss.apply(x, weight, targets, dtype, torch.is_grad_enabled())
    return loss


class Unread(TorchBackend):
    """A backend, its state shared, whose pass ends with what the logits are made of."""

    def __init__(self, backend: TorchBackend) -> None:
        self.__dict__ = backend.__dict__

    def unembed(self, x: Tensor, w: Any) -> tuple[Tensor, Tensor]:
        """x [..., n] -> (x, the table [row, n])"""
        return x, w.weight


class _SummedLoss(torch.autograd.Function):  # type: ignore[misc]
    """The gradients are made in the forward pass, of a loss that counts once; the backward pass
    multiplies them by the loss's own gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, dtype: Any, learning: bool
    ) -> Tensor:
        inputs, table = x.to(dtype), weight.to(dtype)
        of_x = torch.empty_like(inputs) if learning and ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight) if learning and ctx.needs_input_grad[1] else None
        total = torch.zeros((), dtype=wide(dtype), device=x.device)
        size = _size(inputs, table)
        for begin in range(0, len(x), size):
            rows = slice(begin, begin + size)
            logits = product(inputs[rows], table)
            total = total + _replaced_by_gradient(logits, targets[rows])
            if of_x is not None:
                of_x[rows] = product(logits, table.T)
            if of_weight is not None and of_weight.dtype == dtype:
                of_weight.addmm_(logits.T, inputs[rows])
            elif of_weight is not None:
                of_weight += logits.T @ inputs[rows]
        ctx.save_for_backward(of_x, of_weight)
        ctx.dtype = x.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_weight = ctx.saved_tensors
        return (
            None if of_x is None else (of_x * grad).to(ctx.dtype),
            None if of_weight is None else of_weight * grad,
            None,
            None,
            None,
        )


def _size(x: Tensor, table: Tensor) -> int:
    """Rows of logits at a time."""
    if x.device.type != "cpu":
        return max(LOGITS, _DEVICE // len(table))
    return max(LOGITS, -(-len(x) // _FEW)) if torch.compiler.is_compiling() else LOGITS


def _replaced_by_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """logits [row, n_vocab] -> the summed loss of the rows, whose gradient takes their place."""
    near = logits.device.type == "cpu" and not torch.compiler.is_compiling()
    size = max(1, _NEAR // logits.shape[1]) if near else len(logits)
    losses = []
    for some, target in zip(logits.split(size), targets.split(size), strict=True):
        learned = target != IGNORE
        at = torch.where(learned, target, 0)[:, None]
        scores = some.to(wide(some.dtype))
        largest, of_target = scores.amax(1), scores.gather(1, at)[:, 0]
        p = torch.softmax(scores, 1)
        # -log p(target), also where that is too small to be a number: the largest p is not.
        nats = largest - p.amax(1).log() - of_target
        losses.append(torch.where(learned, nats, 0).sum())
        p.scatter_add_(1, at, p.new_full(at.shape, -1.0))
        some.copy_(p.mul_(learned[:, None]))
    return torch.stack(losses).sum()
