"""Many processes on one run, started by PyTorch's own `torchrun`.

Every process computes its share of each step's rows; the gradients are averaged (DDP), or every
process also keeps only its share of the weights and moments (FSDP).
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from ..errors import InputError

__all__ = ["Processes", "gathered", "join", "like", "share", "wait_for_last"]

Tensor = Any


@dataclass(frozen=True, slots=True)
class Processes:
    """rank of this one (0 writes the files), and how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, value: float, device: Any) -> float:
        """The sum of every process's value."""
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return float(total)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


def join(device: str) -> tuple[Processes, str]:
    """-> (this process among the others, its device). Alone where torchrun did not start it.

    Raises InputError where the processes cannot find each other.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Processes(), device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        except (RuntimeError, ValueError) as error:
            raise InputError(f"cannot join the other processes: {error}") from error
    return Processes(dist.get_rank(), dist.get_world_size()), device


def share(module: Any, called: Any, way: str, processes: Processes) -> Any:
    """What to call instead of `called` (the module, or its compiled form), so that gradients
    are the mean over the processes. way: "ddp" or "fsdp"; fsdp changes the module in place."""
    if processes.world == 1:
        return called
    if way == "ddp":
        return torch.nn.parallel.DistributedDataParallel(called)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    kind = next(module.parameters()).device.type
    mesh = init_device_mesh(kind, (processes.world,))
    for block in module.h:
        fully_shard(block, mesh=mesh)
    # Divided again after each forward pass, also one that no backward pass follows.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return called


def wait_for_last(called: Any, last: bool) -> AbstractContextManager[Any]:
    """Gradients are exchanged only with a step's last micro-batch."""
    if hasattr(called, "set_requires_gradient_sync"):
        called.set_requires_gradient_sync(last)
    elif hasattr(called, "no_sync") and not last:
        context: AbstractContextManager[Any] = called.no_sync()
        return context
    return nullcontext()


def gathered(x: Tensor) -> Tensor:
    """A tensor whole, where each process holds a part of it. Every process must call it."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def like(whole: Tensor, example: Tensor) -> Tensor:
    """The inverse of `gathered`: this process's part, as `example` is divided."""
    if not hasattr(example, "device_mesh") or whole.shape != example.shape:
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        whole.to(example.device), example.device_mesh, list(example.placements)
    )
