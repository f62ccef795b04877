"""Two texts beside each other: a line for each pair of tokens, what differs marked."""

from __future__ import annotations

from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from ...visible import on_one_line, visible
from ..compare import Compare, aligned
from ..notation import percent
from .canvas import Canvas, Drawn, fitted, prose

__all__ = ["compare"]

_SAME = 6  # rows in a stretch that agrees: longer ones are folded
_ENDS = 2  # of those that stay on either side
_LEAST, _MOST = 6, 32  # cells of a token


def compare(picture: Compare, canvas: Canvas) -> Drawn:
    """Position in the first, token, probability and, past the mark, the other's token."""
    columns = (picture.before, picture.after)
    shares = (picture.shares_before, picture.shares_after)
    shown = [[visible(token) for token in tokens] for tokens in columns]
    numbers = [[percent(float(share)) for share in each] for each in shares]
    n_place = len(str(picture.first + max(map(len, columns))))
    n_number = max((cell_len(text) for each in numbers for text in each), default=4)
    room = (canvas.width - n_place - 2 * (n_number + 1) - 5) // 2
    if room < _LEAST:  # the words go before the numbers
        n_number, numbers = 0, [[""] * len(each) for each in numbers]
        room = (canvas.width - n_place - 7) // 2
    widest = max((cell_len(text) for each in shown for text in each), default=0)
    names = [on_one_line(name) for name in picture.names]
    width = max(1, min(room, max(widest, *map(cell_len, names)), _MOST))

    def cell(side: int, at: int | None) -> tuple[str, str]:
        if at is None:
            return fitted("", width), fitted("", n_number)
        return fitted(shown[side][at], width), fitted(numbers[side][at], n_number, right=True)

    gap = " " * n_place
    head = f"{fitted(names[0], width + n_number + 1)}    {fitted(names[1], width + n_number + 1)}"
    yield Text(f"{gap} {head}".rstrip(), style="dim")
    rows = [(i, j, _differ(picture, i, j)) for i, j in aligned(*columns)]
    for differ, stretch in groupby(rows, key=lambda row: row[2]):
        listed = list(stretch)
        folded = 0 if differ or len(listed) <= _SAME else len(listed) - 2 * _ENDS
        for at, (i, j, _) in enumerate(listed):
            if folded and at == _ENDS:
                yield prose(f"{gap} … {folded} tokens the same in both", "dim")
            if folded and _ENDS <= at < _ENDS + folded:
                continue
            place = "" if i is None else picture.first + i  # the other's are others from there on
            line = Text(f"{place:>{n_place}} ", style="dim")
            for side, index in enumerate((i, j)):
                token, number = cell(side, index)
                line.append(token, style="bold" if differ else "")
                line.append(f" {number}")
                if not side:
                    line.append(" ≠  " if differ else "    ", style="bold" if differ else "")
            line.rstrip()
            yield line
    if any(picture.ends):
        ends = (
            f"{name}: {end}" for name, end in zip(picture.names, picture.ends, strict=True) if end
        )
        yield prose(f"{gap} {' · '.join(ends)}", "dim")


def _differ(picture: Compare, i: int | None, j: int | None) -> bool:
    return i is None or j is None or picture.before[i] != picture.after[j]
