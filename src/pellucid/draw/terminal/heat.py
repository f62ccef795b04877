"""Heat maps: numbers on coloured grounds. Without colour the numbers are printed wherever there is
room for them, and shades or signs where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from ...visible import on_one_line, visible
from ..notation import Form, percent, written
from ..pictures import Heat
from . import palette
from .canvas import Canvas, Drawn, digits_for, fitted, largest, prose

__all__ = ["ground", "heat", "legend", "shade", "top"]

_SHADES = " ░▒▓█"
_SIGNS = "=-·+#"  # far below 0 … far above
_MOST_ROWS = 48


def heat(picture: Heat, canvas: Canvas, *, key: bool = True) -> Drawn:
    """Where the columns do not fit, cells lose digits, then become blocks; then the last columns,
    and the last rows, are shown. key: whether the meaning of the colours is said below."""
    values = np.asarray(picture.values, float)
    sign, share = picture.scale == "diverging", picture.form == "percent"
    most = picture.high or top(values)
    columns = [(visible if picture.tokens else on_one_line)(text) for text in picture.columns]
    skipped = max(0, len(picture.rows) - _MOST_ROWS)
    values, rows = values[skipped:], [on_one_line(text) for text in picture.rows[skipped:]]
    n = len(columns)
    cells = [picture.cells[i * n : (i + 1) * n] for i in range(skipped, len(picture.rows))]
    texts = cells if picture.cells else None
    n_label = min(max(map(cell_len, rows), default=0), max(6, canvas.width // 4), 14)
    room = canvas.width - n_label - 1

    written_cells, width = _written(values, columns, room, picture.form, sign, texts)
    at_once = max(1, room // (width + 1))
    if n > at_once and (texts is not None or (not canvas.colour and n <= 4 * at_once)):
        chunks = [range(low, min(low + at_once, n)) for low in range(0, n, at_once)]
        if texts is not None and len(chunks) > 4:
            chunks = chunks[-4:]
    elif n <= at_once:
        chunks = [range(n)]
    else:  # blocks
        width = 2 if n * 2 < room else 1
        low = max(0, n - (room - 1) // width)
        yield from _blocks(values, rows, n_label, range(low, n), width, canvas, sign, most)
        if low:
            yield prose(f"(columns {low} to {n - 1} of {n})", "dim")
        chunks = []
    for chunk in chunks:
        header = Text(" " * (n_label + 1), style="dim")
        for j in chunk:
            header.append(" " + fitted(columns[j], width, right=texts is None))
        header.rstrip()
        yield header
        for i, name in enumerate(rows):
            line = Text(fitted(name, n_label) + " ")
            for j in chunk:
                text = fitted(written_cells[i][j], width, right=texts is None)
                line.append(" " + text, style=ground(float(values[i, j]), most, sign, canvas))
            if not canvas.colour:
                line.rstrip()
            yield line
    if skipped:
        yield prose(f"(the last {len(rows)} of {len(picture.rows)} rows)", "dim")
    if key and canvas.colour:
        yield legend(most, sign, share, canvas)
    elif key and not chunks:
        yield prose(_key(most, sign, share))


def _written(
    values: np.ndarray,
    columns: Sequence[str],
    room: int,
    form: Form,
    sign: bool,
    texts: Sequence[Sequence[str]] | None,
) -> tuple[list[list[str]], int]:
    """-> (what each cell says, cells that the widest may take)"""
    if texts is not None:
        widest = max((cell_len(text) for row in texts for text in row), default=1)
        fits = room // max(1, len(columns)) - 1  # so that all stand in one row, if cut
        return [list(row) for row in texts], min(widest, fits if fits >= 7 else 12, room - 1)
    digits = 0 if form == "percent" else digits_for(values)
    while True:
        cells = [[_cell(v, form, digits, sign) for v in map(float, row)] for row in values]
        width = max((cell_len(text) for row in cells for text in row), default=1)
        if digits <= 1 or (width + 1) * len(columns) <= room:
            break
        digits -= 1
    spare = room // max(1, len(columns)) - 1
    wanted = max(map(cell_len, columns), default=1)
    return cells, max(width, min(wanted, spare, 8))


def _cell(value: float, form: Form, digits: int, sign: bool) -> str:
    if form == "percent":
        return percent(value, whole=True)
    return written(value, "signed" if sign and form == "number" else form, digits)


def _blocks(
    values: np.ndarray,
    rows: Sequence[str],
    n_label: int,
    columns: range,
    width: int,
    canvas: Canvas,
    sign: bool,
    most: float,
) -> Drawn:
    header = [" "] * (len(columns) * width + 4)
    for at, j in enumerate(columns):
        if j % 5 == 0 or (at == 0 and columns.start % 5 > 3):
            for offset, character in enumerate(str(j)):
                header[at * width + offset] = character
    ticks = "".join(header).rstrip()[: canvas.width - n_label - 1]
    yield Text(" " * (n_label + 1) + ticks, style="dim")
    for i, name in enumerate(rows):
        line = Text(fitted(name, n_label) + " ")
        for j in columns:
            value = float(values[i, j])
            if canvas.colour:
                line.append(" " * width, style=ground(value, most, sign, canvas))
            else:
                line.append(shade(value, most, sign) * width)
        if not canvas.colour:
            line.rstrip()
        yield line


def ground(value: float, most: float, sign: bool, canvas: Canvas) -> str:
    """The style of a cell; none for not-a-number, or where there is no colour."""
    if math.isnan(value) or not canvas.colour:
        return ""
    share = float(np.clip(value / most, -1, 1))
    return palette.on(palette.signed(share) if sign else palette.magnitude(share))


def shade(value: float, most: float, sign: bool) -> str:
    """One character for a value, where there is neither colour nor room."""
    if math.isnan(value):
        return " "
    share = float(np.clip(value / most, -1, 1))
    if sign:
        step = 2 if abs(share) >= 0.5 else 1 if abs(share) >= 0.1 else 0
        return _SIGNS[2 + (step if share > 0 else -step)]
    return _SHADES[min(4, math.ceil(share * 4 - 0.2))] if share > 0 else _SHADES[0]


def top(values: np.ndarray) -> float:
    """The value of the strongest colour; what is written as 0.00 everywhere gets none."""
    high = largest(values)
    return high if high >= 0.005 else 1.0


def _end(most: float, share: bool) -> str:
    return percent(most, whole=True) if share else written(most, digits=digits_for(np.array(most)))


def _key(most: float, sign: bool, share: bool) -> str:
    """What the characters mean."""
    end = _end(most, share)
    if sign:
        return f"# from half of {end} up, + from a tenth, · about 0, - and = the same below 0"
    return f"░ up to a quarter of {end}, ▒ ▓ more, █ from three quarters"


def legend(most: float, sign: bool, share: bool, canvas: Canvas) -> Text:
    """The colours from one end to the other."""
    end = _end(most, share)
    n = min(16, (canvas.width - 12) // 2)
    line = Text(f"−{end} " if sign else "0 ", style="dim")
    for i in range(2 * n if sign else n):
        value = (i / (n - 0.5) - 1) if sign else i / (n - 1)
        line.append(" ", style=ground(value, 1.0, sign, canvas))
    line.append(f" +{end}" if sign else f" {end}")
    return line
