"""Attention: what one query looks at in every head, all patterns in small, or one of them whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from ...visible import quoted, visible
from ..notation import head_name, percent
from ..pictures import Heads, Heat
from . import palette
from .canvas import Canvas, Drawn, fitted, prose
from .heat import ground, heat, shade
from .tokens import numbered

__all__ = ["heads", "thumbnails"]

_MOST_THUMBNAILS = 24


def heads(picture: Heads, canvas: Canvas) -> Drawn:
    """One head alone is shown whole."""
    if picture.pattern.shape[:2] == (1, 1):
        yield from _whole(picture, canvas)
        return
    query = picture.position
    yield prose(f"{quoted(picture.tokens[query])} at {query} looks most at")
    yield from heat(_looks(picture, canvas), canvas)
    yield Text()
    if picture.pattern.shape[0] * picture.pattern.shape[1] > _MOST_THUMBNAILS:
        yield prose(f"All patterns are too many to be shown here. {picture.more}", "dim")
        return
    yield prose("Every query (down) and key (across)")
    squares = []
    for i, layer in enumerate(picture.layers):
        for j, head in enumerate(picture.heads):
            known = "".join(label[0].upper() for label in picture.labels.get((layer, head), ()))
            squares.append((f"{head_name(layer, head)} {known}".strip(), picture.pattern[i, j]))
    yield from thumbnails(squares, canvas)


def _whole(picture: Heads, canvas: Canvas) -> Drawn:
    n = len(picture.tokens)
    later = np.triu(np.ones((n, n), bool), 1)
    whole = Heat(
        values=np.where(later, np.nan, picture.pattern[0, 0]),
        rows=tuple(numbered(picture.tokens)),
        columns=picture.tokens,
        tokens=True,
        high=1.0,
    )
    yield from heat(whole, canvas)


def _looks(picture: Heads, canvas: Canvas) -> Heat:
    """The key that the query looks at most in each head."""
    rows = picture.pattern[:, :, picture.position]  # [layer, head, key]
    best = rows.argmax(-1)
    shares = rows.max(-1)
    tokens = [visible(token) for token in picture.tokens]
    short = [fitted(token, 7).rstrip() for token in tokens]
    cells = [
        tokens[key] if canvas.colour else f"{short[key]} {percent(float(share), whole=True)}"
        for key, share in zip(best.ravel(), shares.ravel(), strict=True)
    ]
    return Heat(
        values=shares,
        rows=tuple(f"L{layer}" for layer in picture.layers),
        columns=tuple(f"H{head}" for head in picture.heads),
        form="percent",
        high=1.0,
        cells=tuple(cells),
    )


def thumbnails(
    squares: Sequence[tuple[str, np.ndarray]], canvas: Canvas, *, most: int = 24
) -> Drawn:
    """(title, values [query, key] in 0…1) as small squares, several in a row: the last positions
    where there are more than `most`. Two queries to a line in colour, one without."""
    if not squares:
        return
    n = min(most, canvas.width, squares[0][1].shape[-1])
    step = 2 if n <= 12 and canvas.width >= 2 * n else 1  # cells to a key
    width = max(n * step, max(cell_len(title) for title, _ in squares))
    per_row = max(1, (canvas.width + 2) // (width + 2))
    tall = step == 1 and canvas.colour  # two queries to a line
    for low in range(0, len(squares), per_row):
        some = squares[low : low + per_row]
        if low:
            yield Text()
        yield Text("  ".join(fitted(title, width) for title, _ in some).rstrip(), style="bold")
        for query in range(0, n, 2 if tall else 1):
            line = Text()
            for at, (_, values) in enumerate(some):
                if at:
                    line.append("  ")
                square = values[-n:, -n:]
                for key in range(n):
                    upper = float(square[query, key]) if key <= query else math.nan
                    if tall:
                        below = query + 1
                        inside = below < n and key <= below
                        lower = float(square[below, key]) if inside else math.nan
                        line.append(*_halves(upper, lower))
                    elif canvas.colour:
                        line.append(" " * step, style=ground(upper, 1.0, False, canvas))
                    else:
                        line.append(("·" if upper <= 0.05 else shade(upper, 1.0, False)) * step)
                line.append(" " * (width - n * step))
            if not canvas.colour:
                line.rstrip()
            yield line


def _halves(upper: float, lower: float) -> tuple[str, str]:
    """One character for two cells, one above the other."""

    def colour(value: float) -> str:
        return "rgb({},{},{})".format(*palette.magnitude(value))

    if math.isnan(upper) and math.isnan(lower):
        return " ", ""
    if math.isnan(upper):
        return "▄", colour(lower)
    if math.isnan(lower):
        return "▀", colour(upper)
    return "▀", f"{colour(upper)} on {colour(lower)}"
