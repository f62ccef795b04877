"""Work on numpy arrays, divided between the cores: numpy lets go of Python while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from ..backend import Backend
from ..backend.sliced import Turned

__all__ = ["side_by_side"]


def side_by_side(part: Callable[[slice], None], n: int, rows: int, backend: Backend) -> None:
    """part(slice) over 0…n, `rows` at a time; each writes where no other does. backend: the
    model's, which may have to let others go first (`Turned`): then as many parts as there
    are cores make a slice."""
    parts = [slice(low, min(low + rows, n)) for low in range(0, n, rows)]
    n_core = os.cpu_count() or 1
    turn = backend.turn if isinstance(backend, Turned) else nullcontext
    at_once = n_core if isinstance(backend, Turned) else max(1, len(parts))
    if len(parts) < 2:
        for each in parts:
            with turn():
                part(each)
        return
    with ThreadPoolExecutor(min(len(parts), n_core)) as pool:
        for low in range(0, len(parts), at_once):
            with turn():
                for _ in pool.map(part, parts[low : low + at_once]):
                    pass
