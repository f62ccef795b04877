"""What is put around the model before the first step, and never again: an adapter, compilation,
division over processes. The loop calls what comes out, and knows of none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..errors import TrainingError
from . import lora
from .config import TrainConfig
from .distributed import Processes, share
from .module import Tree

__all__ = ["wrapped"]


def wrapped(
    module: Tree, config: TrainConfig, processes: Processes, kept: Mapping[str, np.ndarray]
) -> Any:
    """-> what is called instead of the module; its parameters are those that are trained.

    kept: the adapter's matrices of a run that is gone on with, or nothing.
    """
    if config.lora_rank:
        targets = tuple(config.lora_targets.split(","))
        lora.add_lora(
            module, config.lora_rank, config.lora_alpha, targets, config.lora_dropout, config.seed
        )
        if kept:
            lora.restore(module, kept)
    called = _compiled(module) if config.compile else module
    return share(module, called, config.parallel, processes)


def _compiled(module: Tree) -> Any:
    """Compilation happens at the first step; what it needs is tried here, on two numbers."""
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=next(module.parameters()).device))
    except Exception as error:  # of many kinds: no compiler, no Python.h, no Triton
        reason = str(error).strip().partition("\n")[0]
        raise TrainingError(
            f"torch.compile does not work here ({reason}): install a C++ compiler such as g++, or "
            "leave --compile out"
        ) from error
    return torch.compile(module)
