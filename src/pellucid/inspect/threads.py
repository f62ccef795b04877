"""Work on numpy arrays, divided between the cores: numpy lets go of Python while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["side_by_side"]


def side_by_side(part: Callable[[slice], None], n: int, rows: int) -> None:
    """part(slice) over 0…n, `rows` at a time; each writes where no other does."""
    parts = [slice(low, min(low + rows, n)) for low in range(0, n, rows)]
    if len(parts) < 2:
        for each in parts:
            part(each)
        return
    with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
        for _ in pool.map(part, parts):
            pass
