"""What is drawn on, and text that stays within it: marks of a counted width, prose that wraps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...visible import harmless

__all__ = ["Canvas", "Drawn", "digits_for", "fitted", "folded", "largest", "prose", "strongest"]

Drawn = Iterator[Text]


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """width: in cells. colour: at least 256 colours."""

    width: int
    colour: bool


def prose(text: str, style: str = "") -> Text:
    """Words, wrapped at the canvas's width; nothing in them acts on the terminal."""
    return Text(harmless(text), style=style, overflow="fold", no_wrap=False)


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so many cells: filled up with spaces, or cut with an ellipsis."""
    n = cell_len(text)
    if n <= width:
        return " " * (width - n) + text if right else text + " " * (width - n)
    return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)


def folded(text: str, width: int) -> list[str]:
    """In lines of at most so many cells, which end between words where one has the room."""
    lines, line = [], ""
    for word in text.split(" "):
        part = f"{line} {word}" if line else word
        while cell_len(part) > width:
            if line and cell_len(word) <= width:
                lines.append(line)
                part = word
            else:
                fits = (n for n in range(len(part), 0, -1) if cell_len(part[:n]) <= width)
                cut = next(fits, 1)
                lines.append(part[:cut])
                word = part = part[cut:]
            line = ""
        line = part
    return [*lines, line]


def largest(values: np.ndarray) -> float:
    """The largest magnitude of what is finite; 0 for none."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


def digits_for(values: np.ndarray) -> int:
    """So many decimals that the largest has about three digits."""
    high = largest(values)
    return 2 if high < 10 else 1 if high < 100 else 0


def strongest(values: np.ndarray, n: int) -> list[int]:
    """The places of the n largest magnitudes, in their own order."""
    order = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")[:n]
    return sorted(int(i) for i in order)
