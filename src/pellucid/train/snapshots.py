"""The weights at chosen moments of a run, to look at how it learned.

OUT/snapshots/00000016/    the whole model after 16 steps: `pellucid.load` takes it
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

__all__ = ["FOLDER", "kept", "moments", "place", "rewind"]

FOLDER = "snapshots"
_NAME = re.compile(r"[0-9]{8}")


def moments(steps: int, count: int) -> tuple[int, ...]:
    """Of 0…steps at most `count` steps, the first and the last among them, evenly by their
    logarithm: most is learned early. None where count is 0."""
    if count < 2:
        return ()
    chosen = {0, steps}
    for n in range(1, steps + 2):
        more = {0, *np.rint(np.geomspace(1, max(1, steps), n)).astype(int).tolist(), steps}
        if len(more) > count:
            break
        chosen = more
    return tuple(sorted(chosen))


def place(out: Path, step: int) -> Path:
    return out / FOLDER / f"{step:08d}"


def kept(out: Path) -> dict[int, Path]:
    """Step -> its folder, the first step first."""
    folder = out / FOLDER
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {int(path.name): path for path in paths if _NAME.fullmatch(path.name)}


def rewind(out: Path, step: int) -> None:
    """Leave out those after that step: its run takes them again, perhaps with other rates."""
    for late, path in kept(out).items():
        if late > step:
            shutil.rmtree(path, ignore_errors=True)
