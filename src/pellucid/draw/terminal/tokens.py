"""A text on the colours of its numbers, and a bar for each token that has some weight."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...visible import visible
from ..pictures import Bars, Tokens
from .bars import bars
from .canvas import Canvas, Drawn, prose, strongest
from .heat import ground, top

__all__ = ["numbered", "tokens"]

_BARS = 16


def tokens(picture: Tokens, canvas: Canvas) -> Drawn:
    """The text where there is colour, then the strongest tokens as bars."""
    values = np.asarray(picture.values, float)
    if canvas.colour:
        yield from _strip(picture, values, canvas)
    shown = strongest(values, _BARS)
    names = numbered(picture.tokens)
    yield from bars(
        Bars(
            labels=tuple(names[i] for i in shown),
            values=values[shown],
            form=picture.form,
            notes=tuple(picture.notes[i] for i in shown) if picture.notes else (),
            high=picture.high,
        ),
        canvas,
    )
    if len(shown) < len(names):
        yield prose(f"(the {len(shown)} strongest of {len(names)})", "dim")


def numbered(texts: tuple[str, ...]) -> list[str]:
    """Each token with its position."""
    width = len(str(len(texts) - 1))
    return [f"{i:>{width}} {visible(text)}" for i, text in enumerate(texts)]


def _strip(picture: Tokens, values: np.ndarray, canvas: Canvas) -> Drawn:
    """The tokens in lines, broken where the text is."""
    most, sign = picture.high or top(values), picture.scale == "diverging"
    line = Text()
    for token, value in zip(picture.tokens, map(float, values), strict=True):
        style = ground(value, most, sign, canvas)
        ends = token.endswith("\n")
        shown = visible(token)
        if line and cell_len(line.plain) + cell_len(shown) > canvas.width:
            yield line
            line = Text()
        while cell_len(shown) > canvas.width:
            part = set_cell_size(shown, canvas.width)
            yield Text(part, style=style)
            shown = shown[len(part) :]
        line.append(shown, style=style)
        if ends:
            yield line
            line = Text()
    if line:
        yield line
