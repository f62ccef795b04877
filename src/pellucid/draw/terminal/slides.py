"""A lecture's formulas, numbers in rows and tables."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from ...visible import on_one_line
from ..notation import written
from ..slides import Formula, Matrix, Table
from .canvas import Canvas, Drawn, fitted, folded, prose
from .heat import ground

__all__ = ["formula", "matrix", "table"]

_LABEL = 12  # cells of a row's label, at most
_NUMBERS = 12  # of an array


def formula(picture: Formula, canvas: Canvas) -> Drawn:
    yield prose(picture.text, "bold cyan")


def table(picture: Table, canvas: Canvas) -> Drawn:
    """Columns as wide as their texts; where they do not fit, the widest go on below themselves."""
    lines = [picture.columns, *picture.rows]
    texts = [[on_one_line(text) for text in line] for line in lines]
    columns = list(zip(*texts, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    # Numbers and headings stay whole as long as something else can be narrower.
    least = [
        width if number else max(map(cell_len, (column[0], " " * 6)))
        for column, width, number in zip(columns, widths, picture.numbers, strict=True)
    ]
    room = canvas.width - 2 * (len(widths) - 1)
    narrow = [w if number else 3 for w, number in zip(widths, picture.numbers, strict=True)]
    for bounds in (least, narrow, [1] * len(widths)):
        while sum(widths) > room and any(w > b for w, b in zip(widths, bounds, strict=True)):
            spare = [w if w > b else 0 for w, b in zip(widths, bounds, strict=True)]
            widths[spare.index(max(spare))] -= 1
    for i, line in enumerate(texts):
        cells = [folded(text, width) for text, width in zip(line, widths, strict=True)]
        for row in zip_longest(*cells, fillvalue=""):
            parts = (
                fitted(text, width, right=right)
                for text, width, right in zip(row, widths, picture.numbers, strict=True)
            )
            yield Text("  ".join(parts).rstrip(), style="" if i else "dim")


def matrix(picture: Matrix, canvas: Canvas) -> Drawn:
    """With three decimals, or two where that lets a whole row be seen."""
    labels = [on_one_line(text) for text in picture.rows]
    n_label = min(max(map(cell_len, [*labels, picture.corner])), _LABEL)
    room = canvas.width - n_label
    yield from (_pairs if picture.columns else _arrays)(picture, labels, n_label, room, canvas)


def _arrays(picture: Matrix, labels: list[str], n_label: int, room: int, canvas: Canvas) -> Drawn:
    n = picture.values.shape[1]
    wanted = min(n, _NUMBERS)
    rest = f"  … {n}"
    for digits in (3, 2, 3):
        cells = [[written(float(v), digits=digits) for v in row[:wanted]] for row in picture.values]
        width = 2 + max(cell_len(text) for row in cells for text in row)
        fits = min(wanted, room // width)
        if fits == n:
            rest = ""
            break
    if rest:
        fits = max(1, min(wanted, (room - len(rest)) // width))
    shown = _around(picture.followed, len(labels), max(3, canvas.width // 10))
    for i in shown:
        line = Text(fitted(labels[i], n_label), style="bold" if i == picture.followed else "")
        line.append("".join(fitted(text, width, right=True) for text in cells[i][:fits]) + rest)
        yield line
    if len(shown) < len(labels):
        yield prose(
            f"({len(shown)} of these {len(labels)} rows; a wider terminal has room for more)", "dim"
        )


def _pairs(picture: Matrix, labels: list[str], n_label: int, room: int, canvas: Canvas) -> Drawn:
    """Where not all columns fit, those up to the followed row's, and the same rows."""
    cells = [[written(float(v), digits=3) for v in row] for row in picture.values]
    names = [on_one_line(text) for text in picture.columns]
    width = 2 + max(
        *(min(cell_len(name), 9) for name in names),
        *(cell_len(text) for row in cells for text in row),
    )
    n = len(names)
    shown = _around(picture.followed, n, room // width)
    header = "".join(" " + fitted(names[j], width - 1, right=True) for j in shown)
    yield Text(fitted(picture.corner, n_label) + header, style="dim")
    for i in shown if len(labels) == n else range(len(labels)):
        line = Text(fitted(labels[i], n_label), style="bold" if i == picture.followed else "")
        for j in shown:
            value = float(picture.values[i, j])
            line.append("  ")
            hidden = picture.ground and j > i
            style = "dim" if hidden or np.isinf(value) else ""
            if picture.ground and not hidden:
                style = ground(value, 1.0, False, canvas)
            line.append(fitted(cells[i][j], width - 2, right=True), style=style)
        yield line
    if len(shown) < n:
        yield prose(
            f"({len(shown)} of these {n} positions; a wider terminal has room for more)", "dim"
        )


def _around(followed: int, n: int, most: int) -> range:
    """At most so many of n, up to the followed one."""
    most = max(1, min(n, most))
    low = max(0, min(followed - most + 1, n - most))
    return range(low, low + most)
