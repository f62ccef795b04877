"""Bars: label, number, bar, note; negative ones to the left. Before and after side by side."""

from __future__ import annotations

import math

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from ...visible import on_one_line, visible
from ..notation import written
from ..pictures import Bars
from . import palette
from .canvas import Canvas, Drawn, digits_for, fitted, prose

__all__ = ["bar", "bars"]

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LONGEST = 50  # cells: longer bars say no more


def bars(picture: Bars, canvas: Canvas) -> Drawn:
    """One line a row."""
    labels = [(visible if picture.tokens else on_one_line)(text) for text in picture.labels]
    if not labels:
        return
    if picture.after is not None:
        yield from _compared(picture, labels, picture.after, canvas)
        return
    values = np.asarray(picture.values, float)
    digits = digits_for(values) + (picture.form == "number")
    numbers = [written(float(value), picture.form, digits) for value in values]
    n_number = max(map(cell_len, numbers))
    n_note = min(max(map(cell_len, picture.notes), default=0), canvas.width // 3)
    n_label = min(
        max(map(cell_len, labels)),
        max(6, canvas.width - n_number - 8 - n_note, canvas.width // 3),
        max(8, canvas.width // 2 - n_number),
    )
    room = canvas.width - n_label - n_number - 2 - (n_note + 1 if n_note else 0)
    room = min(room, _LONGEST)
    known = values[np.isfinite(values)]
    low = float(known.min(initial=0.0))
    high = float(known.max(initial=0.0)) if picture.high is None else picture.high
    # What is written as 0 everywhere needs no bars.
    some = any(character in "123456789" for text in numbers for character in text)
    unit = (high - low) / room if room > 0 and high > low and some else 0.0
    axis = round(-low / unit) if unit else 0
    for i, (label, value, text) in enumerate(zip(labels, values, numbers, strict=True)):
        line = Text(fitted(label, n_label) + " " + fitted(text, n_number, right=True))
        if unit:
            left, right = bar(float(value) / unit, axis, room - axis)
            line.append(" ")
            line.append(left, style=palette.LESS)
            line.append(right, style=palette.MORE)
        if picture.notes and picture.notes[i]:
            note = on_one_line(picture.notes[i])
            line.append(" " + fitted(note, n_note).rstrip(), style="dim")
        line.rstrip()
        yield line
    if picture.total is not None:
        yield prose(f"sum {written(picture.total, picture.form)}", "bold")


def _compared(picture: Bars, labels: list[str], after: np.ndarray, canvas: Canvas) -> Drawn:
    """Two columns of bars, one for each of the two."""
    columns = [np.asarray(picture.values, float), np.asarray(after, float)]
    n_label = min(max(map(cell_len, labels)), max(8, canvas.width // 4), 16)
    room = max(8, (canvas.width - n_label) // 2 - 1)
    shown = [[written(float(value), picture.form) for value in column] for column in columns]
    n_number = max(cell_len(text) for column in shown for text in column)
    n_bar = min(30, room - n_number - 1)
    high = picture.high or max(float(np.abs(column).max()) for column in columns) or 1.0
    header = "".join(" " + fitted(name, room) for name in picture.names).rstrip()
    yield Text(" " * n_label + header, style="dim")
    for i, label in enumerate(labels):
        line = Text(fitted(label, n_label))
        for column, texts in zip(columns, shown, strict=True):
            line.append(" " + fitted(texts[i], n_number, right=True) + " ")
            line.append(bar(float(column[i]) / high * n_bar, 0, n_bar)[1], style=palette.MORE)
            line.append(" " * (room - n_number - 1 - n_bar))
        line.rstrip()
        yield line


def bar(length: float, left: int, right: int) -> tuple[str, str]:
    """What stands on either side of the axis. length, left, right: in cells."""
    if not math.isfinite(length):
        return " " * left, " " * right
    if length < 0:
        halves = min(round(-length * 2), left * 2)
        blocks = "▐" * (halves % 2) + "█" * (halves // 2)
        return " " * (left - len(blocks)) + blocks, " " * right
    eighths = min(round(length * 8), right * 8)
    blocks = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return " " * left, blocks + " " * (right - len(blocks))
