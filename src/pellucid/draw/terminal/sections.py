"""Sections, one below another, and what draws each primitive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ...visible import on_one_line
from ..compare import Compare
from ..pictures import (
    Bars,
    Distribution,
    Heads,
    Heat,
    Lens,
    Lines,
    Picture,
    Section,
    Tabs,
    Tokens,
    Values,
)
from ..slides import Formula, Matrix, Table
from .bars import bars
from .canvas import Canvas, Drawn, prose
from .compare import compare
from .heads import heads
from .heat import heat
from .lens import lens
from .palette import ROLES
from .slides import formula, matrix, table
from .tokens import tokens
from .values import values

__all__ = ["Drawing", "drawn"]

_LIKELIEST = 10  # tokens of a distribution


class Drawing:
    """Sections or a single picture that rich can print, as wide as the console."""

    def __init__(self, content: Sequence[Section] | Picture) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        colour = console.color_system in ("256", "truecolor") and not console.no_color
        canvas = Canvas(width=max(20, options.max_width), colour=colour)
        if isinstance(self.content, Picture):
            lines = drawn(self.content, canvas)
        else:
            lines = _sections(self.content, canvas)
        for line in lines:
            if line.no_wrap is None:  # marks, which count their cells themselves
                line.no_wrap, line.overflow = True, "crop"
            yield line


def _sections(sections: Sequence[Section], canvas: Canvas) -> Drawn:
    about = ""
    shown = [section for section in sections if not section.aside]
    for i, section in enumerate(shown):
        if i:
            yield Text()
        yield prose(section.title, "bold")
        if section.about and section.about != about:
            yield prose(on_one_line(section.about), "italic")
        about = section.about
        yield prose(section.how, "dim")
        for note in section.notes:
            yield prose(note)
        for picture in section.pictures:
            yield Text()
            yield from drawn(picture, canvas)
    if aside := [section.title for section in sections if section.aside]:
        yield Text()
        yield prose(f"On a page also: {'; '.join(aside)}.", "dim")


def drawn(picture: Picture, canvas: Canvas) -> Drawn:
    """The lines of one picture: marks within the canvas, and prose that is still to be wrapped."""
    if picture.caption and not isinstance(picture, Tabs):
        role = picture.role if isinstance(picture, Matrix) else ""
        yield prose(picture.caption, ROLES.get(role, ""))
    yield from _PICTURES[type(picture)](picture, canvas)


def _tabs(picture: Tabs, canvas: Canvas) -> Drawn:
    """Those that are to be seen where none can be chosen."""
    for i, name in enumerate(picture.unfolded or tuple(picture.pictures)[:1]):
        if i:
            yield Text()
        yield from drawn(picture.pictures[name], canvas)


def _lines(picture: Lines, canvas: Canvas) -> Drawn:
    for line in picture.lines:
        yield prose(line)


def _distribution(picture: Distribution, canvas: Canvas) -> Drawn:
    x = np.asarray(picture.logits, np.float64)
    shares = np.exp(x - x.max())
    shares /= shares.sum()
    ids = list(picture.ids[:_LIKELIEST])
    yield from bars(
        Bars(
            labels=picture.texts[:_LIKELIEST],
            values=shares[ids],
            form="percent",
            tokens=True,
            high=1.0,
        ),
        canvas,
    )


_PICTURES: dict[type[Picture], Callable[[Any, Canvas], Drawn]] = {
    Bars: bars,
    Compare: compare,
    Distribution: _distribution,
    Formula: formula,
    Heads: heads,
    Heat: heat,
    Lens: lens,
    Lines: _lines,
    Matrix: matrix,
    Table: table,
    Tabs: _tabs,
    Tokens: tokens,
    Values: values,
}
