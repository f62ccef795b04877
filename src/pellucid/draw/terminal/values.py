"""Arrays by name: a table of what they amount to; one alone is drawn."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from ...visible import visible
from ..notation import written
from ..pictures import Heat, Value, Values
from .canvas import Canvas, Drawn, fitted, prose
from .heads import thumbnails
from .heat import heat

__all__ = ["values"]


def values(picture: Values, canvas: Canvas) -> Drawn:
    """One line a value."""
    if len(picture.rows) == 1:
        yield from _whole(picture, picture.rows[0], canvas)
        return
    wide = canvas.width >= 60
    n_name = min(26, canvas.width - (27 if wide else 18))
    ends = f"{'lowest':>8} {'mean':>8} {'highest':>8}" if wide else f"{'lowest':>8} {'highest':>8}"
    yield Text(f"{'':{n_name}} {ends}{'  shape' * wide}", style="dim")
    for row in picture.rows:
        low, mean, high, _ = row.statistics
        line = fitted(row.name if wide else row.name.removeprefix("blocks."), n_name)
        line += "".join(f" {_brief(x):>8}" for x in ((low, mean, high) if wide else (low, high)))
        if wide:
            line += "  " + fitted(_shape(row), canvas.width - n_name - 29)
        yield Text(line.rstrip())


def _shape(row: Value) -> str:
    """ "7 position × 3 head × 4 d_k" """
    named = ["" if axis == "1" else f" {axis}" for axis in row.axes]
    sizes = [
        f"{n} ({name[1:]})" if "·" in name else f"{n}{name}"
        for n, name in zip(row.array.shape, named, strict=True)
    ]
    return " × ".join(sizes)


def _whole(picture: Values, row: Value, canvas: Canvas) -> Drawn:
    yield prose(f"{row.name} [{', '.join(row.axes)}]", "bold")
    axes, array = row.axes, row.array
    tokens = tuple(map(visible, picture.tokens))
    names = {
        "position": tokens,
        "query": tokens,
        "key": tuple(map(visible, picture.keys[: array.shape[-1]])),
        "head": tuple(f"H{head}" for head in picture.heads),
    }
    if "head" in axes and len(picture.heads) == 1:
        array = array.squeeze(axes.index("head"))
        axes = tuple(axis for axis in axes if axis != "head")
    if array.ndim == 3:
        if axes[-1] == "key" and (array >= 0).all():
            pairs = zip(names["head"], array, strict=True)
            yield from thumbnails(list(pairs), canvas)
            return
        yield prose("(the length of each head's vector; one head alone opens it)", "dim")
        array = np.linalg.norm(array.astype(np.float64), axis=-1)
        axes = axes[:2]
    shown = np.where(np.isfinite(array), array, np.nan)
    rows = names.get(axes[0], _counted(len(shown)))[-len(shown) :]  # logits: one row a step
    columns = names.get(axes[1], _counted(shown.shape[1]))
    fits = shown.shape[1] if axes[1] in names else max(1, (canvas.width - 16) // 6)
    part = Heat(
        values=shown[:, :fits],
        rows=tuple(rows),
        columns=tuple(columns[:fits]),
        scale="diverging" if (shown < 0).any() else "sequential",
    )
    yield from heat(part, canvas)
    if fits < shown.shape[1]:
        yield prose(f"(the first {fits} of {shown.shape[1]} numbers)", "dim")


def _counted(n: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(n))


def _brief(value: float) -> str:
    if value and not 0.001 <= abs(value) < 10000:
        return f"{value:.1e}".replace("-", "−")
    return written(value, digits=3 if abs(value) < 10 else 1)
