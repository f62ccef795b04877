"""What is put around the model before the first step, and never again: an adapter, compilation,
division over processes. The loop calls what comes out, and knows of none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from . import lora
from .config import TrainConfig
from .distributed import Processes, share
from .module import GPTModule

__all__ = ["wrapped"]


def wrapped(
    module: GPTModule, config: TrainConfig, processes: Processes, kept: Mapping[str, np.ndarray]
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
    called = torch.compile(module) if config.compile else module
    return share(module, called, config.parallel, processes)
