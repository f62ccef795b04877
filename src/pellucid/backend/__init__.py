"""The few operations that machines do differently, once per machine (`protocol.Backend`)."""

from __future__ import annotations

from ..errors import InputError
from .protocol import Array, Backend, KeyValues, Prepared, Segment

__all__ = ["BACKENDS", "Array", "Backend", "KeyValues", "Prepared", "Segment", "get_backend"]

BACKENDS = ("numpy", "torch")


def get_backend(
    name: str = "numpy",
    *,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> Backend:
    """A backend by name.

    name: "numpy" or "torch". device: torch's name of a device ("cpu", "cuda"); numpy has only
    "cpu". dtype: "float32" (default), "float64", with torch also "bfloat16". threads: how many
    cores to use (default: those this process may run on).
    Raises InputError when the combination does not exist or torch is not installed.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if name == "numpy":
        from .numpy import NumpyBackend

        if device not in (None, "cpu"):
            raise InputError(f"the numpy backend runs on the CPU; for {device!r} use backend torch")
        return NumpyBackend(dtype or "float32", threads)
    if name == "torch":
        try:
            from .torch import TorchBackend
        except ImportError as error:
            raise InputError(
                'the torch backend needs PyTorch: pip install "pellucid[torch]"'
            ) from error
        return TorchBackend(device or "cpu", dtype or "float32", threads)
    raise InputError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")
