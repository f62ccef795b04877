"""Weights rounded with texts in view, on the way into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .loading import load
from .progress import told

if TYPE_CHECKING:
    import numpy as np

__all__ = ["calibrated_tensors"]


def calibrated_tensors(source: str, path: str, *, table: bool) -> dict[str, np.ndarray]:
    """The tensors of a model, its linear maps, and where `table` the output layer, rounded to 4
    bits with the texts of `path` in view."""
    from ..calibrate import calibrated
    from ..data.files import find_files
    from ..data.sources import Sources
    from ..evaluate.files import texts

    sources = Sources(files=find_files([path]))
    gpt = load(source)
    with told("rounding") as tell:
        return calibrated(gpt, texts(gpt, sources), table=table, on_progress=tell)
