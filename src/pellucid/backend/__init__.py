"""The few operations that machines do differently, once per machine (`protocol.Backend`)."""

from __future__ import annotations

from importlib import import_module

from ..errors import InputError
from .protocol import Array, Backend, KeyValues, Norm, Place, Prepared, Segment, Turns, turned

__all__ = [
    "BACKENDS",
    "Array",
    "Backend",
    "KeyValues",
    "Norm",
    "Place",
    "Prepared",
    "Segment",
    "Turns",
    "get_backend",
    "turned",
]

BACKENDS = ("auto", "numpy", "native", "torch")
_SMALLER = ("bfloat16", "int8", "int4")


def get_backend(
    name: str = "auto",
    *,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    keys: str | None = None,
) -> Backend:
    """A backend by name.

    name: "numpy", "native", "torch", or "auto": native where it is built, else numpy; numpy for
    float64; torch for another device. device: torch's name of a device ("cpu", "cuda"); the others
    have only "cpu". dtype: "float32" (default), "float64", with torch also "bfloat16"; with native,
    of the weights: "float32", "bfloat16", "int8", "int4". threads: how many cores to use (default:
    those this process may run on). keys: with native, of the cache's keys and values: "float32"
    (default with float32 weights), "float16" (default with others), "int8".
    Raises InputError when the combination does not exist or what it needs is not installed.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if name == "auto":
        name = _fastest(device, dtype, keys)
    if keys is not None and name in ("numpy", "torch"):
        raise InputError(
            f"the {name} backend keeps keys and values as it computes; keys in {keys} are for the "
            "native backend"
        )
    if name == "numpy":
        from .numpy import NumpyBackend

        _only_cpu(name, device)
        return NumpyBackend(dtype or "float32", threads)
    if name == "native":
        _only_cpu(name, device)
        try:
            from .native import NativeBackend
        except ImportError as error:
            raise InputError(
                f"the native backend is not built ({error}): pip install ./native, in a clone of "
                "the repository, with a C++ compiler at hand"
            ) from error
        return NativeBackend(dtype or "float32", threads, keys)
    if name == "torch":
        try:
            from .torch import TorchBackend
        except ImportError as error:
            raise InputError(
                'the torch backend needs PyTorch: pip install "pellucid[torch]"'
            ) from error
        return TorchBackend(device or "cpu", dtype or "float32", threads)
    raise InputError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")


def _fastest(device: str | None, dtype: str | None, keys: str | None) -> str:
    """What "auto" means here. All give the same numbers up to rounding."""
    if device not in (None, "cpu"):
        return "torch"
    if dtype in _SMALLER or keys is not None:
        return "native"
    if dtype not in (None, "float32"):
        return "numpy"
    try:
        import_module(".native", __name__)
    except ImportError:  # not built, or of another version
        return "numpy"
    return "native"


def _only_cpu(name: str, device: str | None) -> None:
    if device not in (None, "cpu"):
        raise InputError(f"the {name} backend runs on the CPU; for {device!r} use backend torch")
