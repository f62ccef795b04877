"""The marks that every picture is made of: labels, heatmaps, bars, coloured text.

Each yields lines of `rich.text.Text`, none wider than the page. Without colour the numbers are
printed, wherever there is room for them, and shades or signs where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from . import palette

__all__ = [
    "Page",
    "bar_of",
    "bars",
    "coloured",
    "fitted",
    "heatmap",
    "label",
    "legend",
    "lines",
    "number",
    "percent",
    "thumbnails",
    "whole_percent",
]

_SHADES = " ░▒▓█"
_SIGNS = "=-·+#"  # far below 0 … far above
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_ROWS = 48

# Characters that would act on the terminal or not be seen.
_VISIBLE: dict[int, int | str] = {0x7F: 0x2421}
_VISIBLE |= {i: 0x2400 + i for i in range(32)}
_VISIBLE |= dict.fromkeys([*range(0x80, 0xA0), 0xAD, 0xFEFF], 0xFFFD)
_VISIBLE |= dict.fromkeys([*range(0x200B, 0x2010), *range(0x2028, 0x202F)], 0xFFFD)
_VISIBLE |= dict.fromkeys(range(0x2060, 0x2070), 0xFFFD)
_SPACES: dict[int, int | str] = {ord(" "): "␣", ord("\n"): "⏎", ord("\t"): "⇥"}


@dataclass(frozen=True, slots=True)
class Page:
    """width: in cells. colour: at least 256 colours."""

    width: int
    colour: bool


def label(token: str) -> str:
    """A token's text, every character of it to be seen."""
    return token.translate(_VISIBLE | _SPACES) or "∅"


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so many cells: filled up with spaces, or cut with an ellipsis."""
    size = cell_len(text)
    if size <= width:
        return " " * (width - size) + text if right else text + " " * (width - size)
    return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)


def number(value: float, digits: int = 2, *, sign: bool = False) -> str:
    if math.isnan(value):
        return "·"
    if math.isinf(value):
        return "-∞" if value < 0 else "∞"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", " ").replace("+", " ")


def percent(probability: float) -> str:
    if 0 < probability < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= probability < 1 else f"{probability:.1%}"


def whole_percent(share: float) -> str:
    if math.isnan(share):
        return "·"
    return f"{share + 0.0:.0%}".replace("-", "−") if abs(share) >= 0.005 else "0%"


def digits_for(values: np.ndarray) -> int:
    """So many decimals that the largest has about three digits."""
    largest = _largest(values)
    return 2 if largest < 10 else 1 if largest < 100 else 0


def lines(text: str, page: Page, style: str = "", *, indent: int = 0) -> Iterator[Text]:
    """Plain words, wrapped at the page's width."""
    import textwrap

    shown = text.translate(_VISIBLE)
    for line in textwrap.wrap(shown, max(10, page.width - indent), subsequent_indent=" " * indent):
        yield Text(line, style=style)


# Bars


def bars(
    rows: Sequence[tuple[str, float]],
    page: Page,
    *,
    form: Callable[[float], str] | None = None,
    notes: Sequence[str] = (),
    ends: tuple[float, float] | None = None,
) -> Iterator[Text]:
    """One line a row: label, number, bar, note. Negative bars go to the left.

    form: how a number is written (default: signed, about three digits). ends: the values at the
    left and right end of the bars' room (default: what the rows reach, and 0).
    """
    if not rows:
        return
    values = np.asarray([value for _, value in rows], float)
    digits = digits_for(values)
    form = form or (lambda value: number(value, digits, sign=True))
    numbers = [form(float(value)) for value in values]
    n_number = max(map(cell_len, numbers))
    n_note = max(map(cell_len, notes), default=0)
    n_note = min(n_note, page.width // 3)
    widest = max(cell_len(name) for name, _ in rows)
    n_label = min(widest, max(6, page.width - n_number - 8 - n_note, page.width // 3))
    n_label = min(n_label, max(8, page.width // 2 - n_number))
    room = page.width - n_label - n_number - 2 - (n_note + 1 if n_note else 0)
    room = min(room, 50)
    finite = values[np.isfinite(values)]
    reach = (float(finite.min(initial=0.0)), float(finite.max(initial=0.0)))
    low, high = ends or reach
    # What is written as 0 everywhere needs no bars.
    some = any(character in "123456789" for text in numbers for character in text)
    unit = (high - low) / room if room > 0 and high > low and some else 0.0
    axis = round(-low / unit) if unit else 0
    for i, ((name, value), text) in enumerate(zip(rows, numbers, strict=True)):
        line = Text(fitted(name, n_label) + " " + fitted(text, n_number, right=True))
        if unit:
            left, right = _bar(float(value) / unit, axis, room - axis)
            line.append(" ")
            line.append(left, style=palette.LESS if page.colour else "")
            line.append(right, style=palette.MORE if page.colour else "")
        if notes and notes[i]:
            line.append(" " + fitted(notes[i], n_note).rstrip(), style="dim" if page.colour else "")
        line.rstrip()
        yield line


def bar_of(share: float, room: int, page: Page) -> tuple[str, str]:
    """0…1 as a bar of `room` cells, with its style."""
    return _bar(share * room, 0, room)[1], palette.MORE if page.colour else ""


def _bar(length: float, left: int, right: int) -> tuple[str, str]:
    """What stands on either side of the axis, in full cells."""
    if not math.isfinite(length):
        return " " * left, " " * right
    if length < 0:
        halves = min(round(-length * 2), left * 2)
        blocks = "▐" * (halves % 2) + "█" * (halves // 2)
        return " " * (left - len(blocks)) + blocks, " " * right
    eighths = min(round(length * 8), right * 8)
    blocks = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return " " * left, blocks + " " * (right - len(blocks))


# Heatmaps


def heatmap(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    page: Page,
    *,
    sign: bool,
    most: float | None = None,
    percents: bool = False,
    texts: Sequence[Sequence[str]] | None = None,
    key: bool = True,
) -> Iterator[Text]:
    """values [row, column] on coloured grounds; not-a-number stays empty.

    sign: whether negative and positive values differ in colour. most: the value of the strongest
    colour (default: the largest there is). texts [row][column]: written instead of the numbers.
    Where the columns do not fit, cells lose digits, then become blocks; then the last columns,
    and the last rows, are shown.
    """
    values = np.asarray(values, float)
    most = most or _top(values)
    skipped = max(0, len(rows) - _MOST_ROWS)
    values, rows = values[skipped:], rows[skipped:]
    n_label = min(max(map(cell_len, rows), default=0), max(6, page.width // 4), 14)
    room = page.width - n_label - 1
    n = len(columns)

    written, width = _written(values, columns, room, percents, sign, texts)
    at_once = max(1, room // (width + 1))
    if n > at_once and (texts is not None or (not page.colour and n <= 4 * at_once)):
        chunks = [range(low, min(low + at_once, n)) for low in range(0, n, at_once)]
        if texts is not None and len(chunks) > 4:
            chunks = chunks[-4:]
    elif n <= at_once:
        chunks = [range(n)]
    else:  # blocks
        width = 2 if n * 2 < room else 1
        low = max(0, n - (room - 1) // width)
        yield from _blocks(values, rows, n_label, range(low, n), width, page, sign, most)
        if low:
            yield from lines(f"(columns {low} to {n - 1} of {n})", page, "dim")
        chunks = []
    for chunk in chunks:
        header = Text(" " * (n_label + 1), style="dim" if page.colour else "")
        for j in chunk:
            header.append(" " + fitted(columns[j], width, right=texts is None))
        header.rstrip()
        yield header
        for i, name in enumerate(rows):
            line = Text(fitted(name, n_label) + " ")
            for j in chunk:
                text = fitted(written[i][j], width, right=texts is None)
                value = float(values[i, j])
                filled = page.colour and not math.isnan(value)
                line.append(" " + text, style=_ground(value, most, sign) if filled else "")
            if not page.colour:
                line.rstrip()
            yield line
    if skipped:
        yield from lines(f"(the last {len(rows)} of {skipped + len(rows)} rows)", page, "dim")
    if key and page.colour:
        yield legend(most, sign, percents, page)
    elif key and not chunks:
        yield from lines(_key(most, sign, percents), page)


def _written(
    values: np.ndarray,
    columns: Sequence[str],
    room: int,
    percents: bool,
    sign: bool,
    texts: Sequence[Sequence[str]] | None,
) -> tuple[list[list[str]], int]:
    """-> (what each cell says, cells that the widest may take)"""
    if texts is not None:
        widest = max((cell_len(text) for row in texts for text in row), default=1)
        fits = room // max(1, len(columns)) - 1  # so that all stand in one row, if cut
        return [list(row) for row in texts], min(widest, fits if fits >= 7 else 12, room - 1)
    digits = 0 if percents else digits_for(values)
    while True:
        cells = [
            [
                whole_percent(v) if percents else number(v, digits, sign=sign)
                for v in map(float, row)
            ]
            for row in values
        ]
        width = max((cell_len(text) for row in cells for text in row), default=1)
        if digits == 0 or (width + 1) * len(columns) <= room or digits == 1:
            break
        digits -= 1
    spare = room // max(1, len(columns)) - 1
    wanted = max(map(cell_len, columns), default=1)
    return cells, max(width, min(wanted, spare, 8))


def _blocks(
    values: np.ndarray,
    rows: Sequence[str],
    n_label: int,
    which: range,
    width: int,
    page: Page,
    sign: bool,
    most: float,
) -> Iterator[Text]:
    header = [" "] * (len(which) * width + 4)
    for at, j in enumerate(which):
        if j % 5 == 0 or (at == 0 and which.start % 5 > 3):
            for offset, character in enumerate(str(j)):
                header[at * width + offset] = character
    ticks = "".join(header).rstrip()[: page.width - n_label - 1]
    yield Text(" " * (n_label + 1) + ticks, style="dim" if page.colour else "")
    for i, name in enumerate(rows):
        line = Text(fitted(name, n_label) + " ")
        for j in which:
            value = float(values[i, j])
            if page.colour:
                style = "" if math.isnan(value) else _ground(value, most, sign)
                line.append(" " * width, style=style)
            else:
                line.append(_symbol(value, most, sign) * width)
        if not page.colour:
            line.rstrip()
        yield line


def _ground(value: float, most: float, sign: bool) -> str:
    share = float(np.clip(value / most, -1, 1))
    return palette.on(palette.signed(share) if sign else palette.magnitude(share))


def _symbol(value: float, most: float, sign: bool) -> str:
    if math.isnan(value):
        return " "
    share = float(np.clip(value / most, -1, 1))
    if sign:
        step = 2 if abs(share) >= 0.5 else 1 if abs(share) >= 0.1 else 0
        return _SIGNS[2 + (step if share > 0 else -step)]
    return _SHADES[min(4, math.ceil(share * 4 - 0.2))] if share > 0 else _SHADES[0]


def _key(most: float, sign: bool, percents: bool) -> str:
    """What the symbols mean, where there is no colour and no room for numbers."""
    end = f"{most:.0%}" if percents else number(most, digits_for(np.asarray([most])))
    if sign:
        return f"# from half of {end} up, + from a tenth, · about 0, - and = the same below 0"
    return f"░ up to a quarter of {end}, ▒ ▓ more, █ from three quarters"


def legend(most: float, sign: bool, percents: bool, page: Page) -> Text:
    end = f"{most:.0%}" if percents else number(most, digits_for(np.asarray([most])))
    n = min(16, (page.width - 12) // 2)
    line = Text(f"−{end} " if sign else "0 ", style="dim")
    for i in range(2 * n if sign else n):
        value = (i / (n - 0.5) - 1) if sign else i / (n - 1)
        line.append(" ", style=_ground(value, 1.0, sign))
    line.append(f" +{end}" if sign else f" {end}")
    return line


# Text on coloured grounds


def coloured(
    tokens: Sequence[str], values: np.ndarray, page: Page, *, sign: bool, most: float | None = None
) -> Iterator[Text]:
    """The text itself, each token on the colour of its value; nothing without colour."""
    if not page.colour:
        return
    most = most or _top(np.asarray(values, float))
    line, used = Text(), 0
    for token, value in zip(tokens, map(float, values), strict=True):
        style = "" if math.isnan(value) else _ground(value, most, sign)
        shown = token.replace("\n", "⏎\n").translate(_VISIBLE | {10: "\n", ord("\t"): "⇥"})
        for part in shown.splitlines(keepends=True) or [""]:
            text = part.removesuffix("\n")
            if used and used + cell_len(text) > page.width:
                yield line
                line, used = Text(), 0
            while cell_len(text) > page.width:
                yield Text(set_cell_size(text, page.width), style=style)
                text = text[len(set_cell_size(text, page.width)) :]
            line.append(text, style=style)
            used += cell_len(text)
            if part.endswith("\n"):
                yield line
                line, used = Text(), 0
    if used:
        yield line


# Small heatmaps side by side


def thumbnails(
    matrices: Sequence[tuple[str, np.ndarray]], page: Page, *, most: int = 24
) -> Iterator[Text]:
    """(title, values [query, key] in 0…1) as small squares, several in a row: the last positions
    where there are more than `most`. Two queries to a line in colour, one without."""
    if not matrices:
        return
    n = min(most, page.width, matrices[0][1].shape[-1])
    step = 2 if n <= 12 and page.width >= 2 * n else 1  # cells to a key
    width = max(n * step, max(cell_len(title) for title, _ in matrices))
    per_row = max(1, (page.width + 2) // (width + 2))
    tall = step == 1 and page.colour  # two queries to a line
    for low in range(0, len(matrices), per_row):
        some = matrices[low : low + per_row]
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
                    elif page.colour:
                        style = "" if math.isnan(upper) else _ground(upper, 1.0, False)
                        line.append(" " * step, style=style)
                    else:
                        line.append(("·" if upper <= 0.05 else _symbol(upper, 1.0, False)) * step)
                line.append(" " * (width - n * step))
            if not page.colour:
                line.rstrip()
            yield line
        yield Text()


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


def _top(values: np.ndarray) -> float:
    """The value of the strongest colour; what is written as 0.00 everywhere gets none."""
    largest = _largest(values)
    return largest if largest >= 0.005 else 1.0


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))
