"""The logit lens: layers down and positions across, or how one token rises from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.text import Text

from ...visible import quoted, visible
from ..notation import percent
from ..pictures import Bars, Lens
from .bars import bars
from .canvas import Canvas, Drawn, fitted, prose
from .heat import ground, legend

__all__ = ["lens"]

_NAME = 6  # cells of a layer's name


def lens(picture: Lens, canvas: Canvas) -> Drawn:
    """One position alone is shown with its likeliest tokens."""
    names = [name if name == "embed" else f"L{name}" for name in picture.layers]
    if len(picture.positions) == 1:
        yield from _one(picture, names, canvas)
    else:
        yield from _table(picture, names, canvas)


def _table(picture: Lens, names: Sequence[str], canvas: Canvas) -> Drawn:
    n = len(picture.positions)
    cell = 8 if canvas.colour else 12
    room = canvas.width - _NAME
    fits = max(1, room // (cell + 1))
    some = range(max(0, n - fits), n)
    if len(some) < n:
        yield prose(f"(the last {len(some)} of {n} positions)", "dim")
    cell = max(cell, min(14, room // len(some) - 1))

    def across(name: str, texts: Sequence[str]) -> Text:
        cells = " ".join(fitted(visible(texts[i]), cell) for i in some)
        return Text(f"{name:<{_NAME}}{cells.rstrip()}", style="dim")

    yield across("reads", picture.tokens)
    for layer, name in enumerate(names):
        line = Text(f"{name:<{_NAME}}")
        for i in some:
            share = math.exp(picture.logprobs[layer, i, 0])
            token = visible(picture.texts[int(picture.top[layer, i, 0])])
            text = token
            if not canvas.colour:
                text = fitted(token, cell - 5) + f"{percent(share, whole=True):>5}"
            line.append(fitted(text, cell), style=ground(share, 1.0, False, canvas))
            line.append(" ")
        line.rstrip()
        yield line
    if not picture.watched:
        yield across("text", picture.targets)
    if canvas.colour:
        yield legend(1.0, False, True, canvas)
    if not picture.watched:
        follows = "text: the token that really follows; at the end the model's own choice."
        yield prose(follows, "dim")


def _one(picture: Lens, names: Sequence[str], canvas: Canvas) -> Drawn:
    n_named = 1 if canvas.width < 60 else 2 if canvas.width < 100 else 3
    notes = []
    for ids, logprobs in zip(picture.top[:, 0], picture.logprobs[:, 0], strict=True):
        best = zip(ids[:n_named], logprobs[:n_named], strict=True)
        named = [f"{visible(picture.texts[int(i)])} {percent(math.exp(p))}" for i, p in best]
        notes.append("  ".join(named))
    yield prose(f"The probability of {quoted(picture.targets[0])}, and the likeliest")
    yield from bars(
        Bars(
            labels=tuple(f"{name:<5}" for name in names),
            values=np.exp(picture.target_logprobs[:, 0]),
            form="percent",
            notes=tuple(notes),
            high=1.0,
        ),
        canvas,
    )
