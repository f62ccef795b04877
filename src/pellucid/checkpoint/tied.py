"""An output layer that is the token embeddings, saved a second time; and what numbers may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from .contents import check_finite, widen
from .names import LM_HEAD
from .safetensors_file import DTYPES, SafetensorsFile

__all__ = ["check_dtypes", "finer_head"]


def check_dtypes(files: Mapping[str, SafetensorsFile], names: Iterable[str], source: Path) -> None:
    for name in names:
        dtype = files[name].places[name].dtype
        if dtype not in DTYPES:
            raise CheckpointError(
                f"{source}: tensor {name} has dtype {dtype}; "
                f"parameters may be {', '.join(sorted(DTYPES))}"
            )


# dtype → the largest error of storing a number in it, as a share of the number. Finest first.
_ROUNDING = {"F64": 0.0, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-7}


def finer_head(
    files: Mapping[str, SafetensorsFile], head: str, embeddings: str, source: Path
) -> bool:
    """Whether the output layer is the embeddings in a finer dtype, and so to be taken for both.

    Raises CheckpointError where they differ by more than the coarser of their dtypes rounds.
    """
    ours, theirs = files[embeddings].stored(embeddings), files[head].stored(head)
    kinds = [files[name].places[name].dtype for name in (embeddings, head)]
    rounding = max(_ROUNDING[kind] for kind in kinds)
    rows = max(1, (1 << 20) // max(1, ours.shape[-1]))  # compared in pieces that fit the cache
    tied = ours.shape == theirs.shape
    for i in range(0, len(ours) if tied else 0, rows):
        if kinds[0] == kinds[1]:
            tied = np.array_equal(ours[i : i + rows], theirs[i : i + rows])
        else:
            one, other = widen(ours[i : i + rows], kinds[0]), widen(theirs[i : i + rows], kinds[1])
            with np.errstate(invalid="ignore"):  # NaN is never close, and is named below
                close = np.abs(one - other) <= rounding * np.abs(other) + 2.0**-24
            tied = bool(close.all())
        if not tied:
            # NaN differs from itself: name it rather than the tie.
            check_finite({LM_HEAD: files[head].tensor(head)}, source)
            break
    if not tied:
        raise CheckpointError(
            f"{source}: lm_head.weight differs from wte.weight; its output layer is the "
            "token embeddings themselves (tied), so this is another kind of model"
        )
    finest = list(_ROUNDING)
    return finest.index(kinds[1]) < finest.index(kinds[0])
