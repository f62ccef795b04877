"""The model as the engine runs it, and how many blocks of keys and values there is room for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..backend import get_backend
from ..backend.strict import StrictBackend
from ..blocks import BlockStore
from ..checkpoint.contents import available_memory
from ..errors import InputError
from ..model import Model

if TYPE_CHECKING:
    from .events import EngineLimits

__all__ = ["blocks", "one_thread_of_blas", "strictly"]


def blocks(model: Model, limits: EngineLimits) -> int:
    """Raises InputError where the keys and values of one whole window have no room."""
    hparams, size = model.hparams, limits.block_size
    each = BlockStore.bytes_per_block(hparams, model.backend, size)
    window = -(-hparams.n_ctx // size)
    if limits.cache_bytes is not None:
        n_blocks = limits.cache_bytes // each
    else:
        free = available_memory()
        most = window * limits.max_running
        n_blocks = most if free is None else max(window, min(most, free // 4 // each))
    if n_blocks < window:
        raise InputError(
            f"the keys and values of one window of {hparams.n_ctx} tokens take "
            f"{window * each / 2**20:.0f} MiB; cache_bytes is {limits.cache_bytes}"
        )
    return n_blocks


def strictly(model: Model) -> Model:
    """The same, of which no row depends on those beside it.

    Raises InputError where the backend has no such mode."""
    backend: Any = model.backend
    if backend.name == "native" and backend.weights == backend.keys == "float32":
        # the same numbers, on numpy
        plain: Any = get_backend("numpy", threads=backend.threads)
        machine = StrictBackend(plain)
        return Model.of(model.hparams, model.tensors(), machine)
    if backend.name != "numpy":
        raise InputError(f"strict is of the numpy backend; this model runs on {backend.name}")
    return replace(model, backend=StrictBackend(backend))


@contextmanager
def one_thread_of_blas(model: Model) -> Iterator[None]:
    """The numpy backend divides the work itself, and sets BLAS to one thread around each pass;
    two of them at once would give it back its threads in the middle of the other's."""
    if model.backend.name not in ("numpy", "native"):
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
