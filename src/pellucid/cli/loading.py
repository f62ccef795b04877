"""A model as a command loads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .memory import keep_freed_memory
from .output import note

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["load"]


def load(model: str | None, **machine: Any) -> GPT:
    """`pellucid.load`, for a process that does nothing else; says which file it wrote."""
    from .. import gpt

    keep_freed_memory()
    return gpt.load(model, **machine, on_kept=_say_kept)


def _say_kept(path: Path) -> None:
    note(
        f"Kept the weights as this processor reads them, for faster starts: {path} "
        f"({path.stat().st_size / 1e6:,.0f} MB; it may be deleted)."
    )
