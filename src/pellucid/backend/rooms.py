"""Room for arrays that come and go, layer by layer: kept when an array is gone, for the next ones.

What a system hands out anew it fills with zeros, page by page, when it is first written to: in a
pass over 512 tokens of GPT-2 that is 170 MB.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["Rooms", "aligned"]

_SMALL = 1 << 18  # bytes; below, numpy's own allocator keeps what is freed
_KEPT = 1 << 28  # bytes, at most


class Rooms:
    """Hands out float32 arrays whose numbers are not set yet."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}
        self._kept = 0

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """Its memory comes back when nobody holds the array, or a view of it, any more."""
        n_bytes = 4 * math.prod(shape)
        if n_bytes < _SMALL:
            return np.empty(shape, np.float32)
        step = 1 << (n_bytes.bit_length() - 3)  # eight sizes from one power of two to the next
        size = -(-n_bytes // step) * step
        try:
            memory = self._free[size].pop()
            self._kept -= size
        except (KeyError, IndexError):
            memory = aligned(size)
        return np.asarray(_Room(self, memory, shape))

    def take_back(self, memory: np.ndarray) -> None:
        """Counts may be off by one another thread's arrays: they only bound what is kept."""
        if self._kept + memory.nbytes > _KEPT:
            self._free, self._kept = {}, 0
        self._kept += memory.nbytes
        self._free.setdefault(memory.nbytes, []).append(memory)


class _Room:
    """What an array is made on, and holds: when the array goes, so does this."""

    __slots__ = ("__array_interface__", "_memory", "_rooms")

    def __init__(self, rooms: Rooms, memory: np.ndarray, shape: tuple[int, ...]) -> None:
        self._rooms = rooms
        self._memory = memory
        self.__array_interface__: dict[str, Any] = {
            "version": 3, "shape": shape, "typestr": "<f4", "data": (memory.ctypes.data, False)
        }  # fmt: skip

    def __del__(self) -> None:
        self._rooms.take_back(self._memory)


def aligned(n_bytes: int, to: int = 64) -> np.ndarray:
    """Room that begins at a multiple of so many bytes."""
    room = np.empty(n_bytes + to, np.uint8)
    begin = -room.ctypes.data % to
    return room[begin : begin + n_bytes]
