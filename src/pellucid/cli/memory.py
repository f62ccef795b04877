"""What this program asks of its allocator; a library would not."""

from __future__ import annotations

import sys

__all__ = ["keep_freed_memory"]


def keep_freed_memory() -> None:
    """glibc gives freed arrays back to the system and takes them anew for the next, page by page:
    recording 128 tokens of the 124M shape takes 4 % longer (LOG.md, 2026-11-25). It keeps them."""
    if sys.platform == "linux":
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl and others have none
        if mallopt is not None:
            mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, its maximum: beyond, arrays are given back
            mallopt(-1, 256 << 20)  # M_TRIM_THRESHOLD: as much is kept at the heap's end
