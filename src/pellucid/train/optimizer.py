"""Which parameters are changed how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ..errors import InputError
from .config import TrainConfig
from .distributed import gathered, like

__all__ = ["Optimizers", "groups"]

Tensor = Any


def groups(
    named: Iterable[tuple[str, Tensor]], weight_decay: float
) -> tuple[list[tuple[str, Tensor]], list[dict[str, Any]]]:
    """-> (the blocks' matrices by name, parameter groups of everything else)

    Matrices are decayed; norms and biases are not (GPT-2 and GPT-3's way, as in nanoGPT).
    """
    inner, matrices, vectors = [], [], []
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif "h." in name:
            inner.append((name, parameter))
        else:
            matrices.append(parameter)
    return inner, [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


class Optimizers:
    """AdamW over everything; or Muon for the blocks' matrices and AdamW for the rest.

    Muon's rate is matched to AdamW's (arXiv 2502.16982), so that the same one fits both.
    """

    def __init__(self, named: Iterable[tuple[str, Tensor]], config: TrainConfig) -> None:
        inner, rest = groups(named, config.weight_decay)
        adamw = {
            "lr": config.learning_rate,
            "betas": (config.beta1, config.beta2),
            "eps": config.epsilon,
            "fused": True,
        }
        self.parts: list[Any]
        if config.optimizer == "adamw":
            rest[0]["params"] += [parameter for _, parameter in inner]
            self.parts = [torch.optim.AdamW(_filled(rest), **adamw)]
            return
        if not hasattr(torch.optim, "Muon"):
            raise InputError(
                f'optimizer = "muon" needs torch 2.9 or newer, not {torch.__version__}'
            )
        from .muon import Muon

        muon = Muon(
            [parameter for _, parameter in inner],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        self.parts = [muon, torch.optim.AdamW(_filled(rest), **adamw)]

    def step(self, rate: float) -> None:
        """Change the parameters at this learning rate, and forget the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """What has to be kept to go on exactly: "part.parameter.moment" -> whole tensor."""
        return {
            f"{number}.{at}.{moment}": gathered(torch.as_tensor(value))
            for number, part in enumerate(self.parts)
            for at, moments in part.state_dict()["state"].items()
            for moment, value in moments.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for number, part in enumerate(self.parts):
            parameters = [p for group in part.param_groups for p in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                owner, at, moment = name.split(".")
                if int(owner) == number:
                    own = like(value, parameters[int(at)])
                    state.setdefault(int(at), {})[moment] = own
            part.load_state_dict({**part.state_dict(), "state": state})


def _filled(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [group for group in groups if group["params"]]
