"""Muon (K. Jordan 2024): the step of a matrix is its momentum made orthogonal.

`torch.optim.Muon` does one matrix after the other, some 40 small operations each; a GPT has as many
equal ones as layers, and they are done together here. The same numbers, but for rounding.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch

__all__ = ["Muon"]

Tensor = Any


class Muon(torch.optim.Muon):  # type: ignore[misc]
    """`torch.optim.Muon` with adjust_lr_fn="match_rms_adamw" (arXiv 2502.16982) and nesterov."""

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Any = None) -> None:
        """Change the parameters that have a gradient. closure: not used."""
        for group in self.param_groups:
            equal: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if hasattr(parameter, "device_mesh"):  # each process holds a part of it
                    super().step()
                    return
                if parameter.grad is not None:
                    equal[tuple(parameter.shape)].append(parameter)
            for shape, parameters in equal.items():
                self._step(group, shape, parameters)

    def _step(
        self, group: dict[str, Any], shape: tuple[int, ...], parameters: list[Tensor]
    ) -> None:
        gradients = [parameter.grad for parameter in parameters]
        moments = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            moments.append(state["momentum_buffer"])
        torch._foreach_lerp_(moments, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, moments, group["momentum"])
        updates = _orthogonal(torch.stack(ahead), group)
        rate = group["lr"]
        torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
        torch._foreach_add_(
            parameters, list(updates.unbind()), alpha=-rate * 0.2 * math.sqrt(max(shape))
        )


def _orthogonal(matrices: Tensor, group: dict[str, Any]) -> Tensor:
    """[matrix, row, column] -> the same shape, all singular values near 1: a few steps of a Newton-
    Schulz iteration, which needs no more than bfloat16."""
    a, b, c = group["ns_coefficients"]
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
