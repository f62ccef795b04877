"""The memory of a training on a CPU."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed"]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def keep_freed() -> None:
    """From here on this process keeps what it frees, for the next step, which needs as much again.

    Each step frees all that lies between the layers. glibc would hand most of it back to the
    system, which has to find it anew and fill it with zeros: a twentieth of a step's time.
    Elsewhere nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc, no such library, Windows
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
