"""Training as it goes on: in a terminal a drawing that moves, elsewhere a line now and then."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..visible import GLYPHS, harmless
from .config import Labels
from .log import StepReport

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


__all__ = ["OUTLIER", "View", "braille", "curve_dots", "duration"]

OUTLIER = 4.0  # deviations above the last 128 losses from which a loss is marked
_REDRAW = 0.25  # seconds between drawings, at least
_SHARE = 0.01  # of the time, at most, goes into drawing
_LINE = 5.0  # seconds between lines where there is no terminal
_SMOOTH = 32  # steps that the shown loss and rate are averaged over
_KEEP = 16_384  # losses that are drawn: older ones are thinned out
# The bits of a braille character's dots, [row, column] (Unicode 1.1, block U+2800)
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
# Blue and orange differ for every kind of colour vision; the marks differ in form as well.
_LOSS, _HELD_OUT, _STRANGE = "bright_blue", "bright_yellow", "bold bright_red"


class View:
    """What a run shows while it goes on. Used as a context; `step` sees every report.

    steps: of the whole run. title: what is trained. labels: what its loss is called. At most one
    hundredth of the time goes into drawing, and there are at most 4 drawings a second.
    """

    def __init__(
        self,
        console: Console,
        steps: int,
        title: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        labels: Labels | None = None,
    ) -> None:
        self.labels = labels or Labels()
        self.console = console
        self.steps = steps
        self.title = title
        self.live = console.is_terminal and not console.is_dumb_terminal
        self._clock = clock
        self._screen: Any = None
        self._drawing = False
        self._notes: list[str] = []  # that came while it was drawn
        self.points: list[tuple[int, float]] = []  # (step, loss) of the curve, thinned out
        self._stride = 1  # every so many steps a point
        self._held_out: list[tuple[int, float]] = []
        self._outliers: list[tuple[int, float]] = []
        self._recent: deque[StepReport] = deque(maxlen=_SMOOTH)
        self._sample: tuple[int, str] | None = None
        self._begin = clock()
        self._taken = 0  # steps since then
        self._next = -math.inf  # when to draw again

    def __enter__(self) -> Self:
        self._begin = self._clock()
        if self.live:
            from rich.live import Live

            self._screen = Live(console=self.console, auto_refresh=False)
            self._screen.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._screen is not None:
            if self._recent:
                self._draw()
            self._screen.__exit__(kind, error, trace)
            self._screen = None

    # What it is told

    def remember(self, reports: Iterable[StepReport]) -> None:
        """Steps that were taken before this start."""
        for report in reports:
            self._add(report)

    def step(self, report: StepReport) -> None:
        self._add(report)
        self._taken += 1
        now = self._clock()
        last = report.step == self.steps
        if self.live:
            if now >= self._next or last:
                self._draw()
                cost = self._clock() - now
                self._next = now + max(_REDRAW, cost / _SHARE)
        elif now >= self._next or last or report.validation_loss is not None:
            self._print(self._line(report))
            self._next = now + _LINE

    def sample(self, step: int, text: str) -> None:
        """What the model writes after that step."""
        self._sample = (step, text)
        if not self.live:
            self._print(f"step {step} writes: {_one_line(text)}")

    def note(self, text: str) -> None:
        """A line that stays. May be called by a signal, in the midst of a drawing."""
        if self._drawing:
            self._notes.append(text)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=not self.live)

    def _add(self, report: StepReport) -> None:
        self._recent.append(report)
        if report.step % self._stride == 0:
            self.points.append((report.step, report.loss))
            if len(self.points) > _KEEP:
                self.points = self.points[1::2]
                self._stride *= 2
        if report.validation_loss is not None:
            self._held_out.append((report.step, report.validation_loss))
        if report.outlier is not None and report.outlier > OUTLIER:
            self._outliers.append((report.step, report.loss))

    # What it shows

    def figures(self) -> list[tuple[str, str]]:
        """Name and value of what is worth knowing now."""
        last = self._recent[-1]
        loss = sum(report.loss for report in self._recent) / len(self._recent)
        seconds = sum(report.seconds for report in self._recent)
        tokens = sum(report.tokens for report in self._recent)
        held_out = self._held_out[-1][1] if self._held_out else None
        figures = [("loss", f"{loss:.3f}")]
        if self.labels.perplexity:
            figures.append(("perplexity", _perplexity(loss)))
        figures.append(("held out", self._none() if held_out is None else f"{held_out:.3f}"))
        if self.labels.perplexity:
            figures.append(
                ("perplexity", self._none() if held_out is None else _perplexity(held_out))
            )
        for name in self.labels.measures:
            values = [r.measures[name] for r in self._recent if name in r.measures]
            figures.append((name, f"{sum(values) / len(values):.3f}" if values else self._none()))
        return [
            *figures,
            ("rate", f"{last.rate:.1e}"),
            ("gradient", f"{last.norm:.2f}"),
            ("tokens/s", f"{tokens / seconds:,.0f}" if seconds > 0 else self._none()),
            ("left", self._left(last.step)),
        ]

    def _none(self) -> str:
        return "-" if self.console.options.ascii_only else "–"

    def _left(self, step: int) -> str:
        if not self._taken:
            return self._none()
        each = (self._clock() - self._begin) / self._taken
        return duration(each * (self.steps - step))

    def _line(self, report: StepReport) -> str:
        names = dict(self.figures())
        parts = [f"step {report.step}/{self.steps}", f"loss {report.loss:.3f}"]
        if report.validation_loss is not None:
            more = [f"perplexity {_perplexity(report.validation_loss)}"]
            if not self.labels.perplexity:
                measured = ((name, f"validation_{name}") for name in self.labels.measures)
                more = [
                    f"{n} {report.measures[v]:.3f}" for n, v in measured if v in report.measures
                ]
            parts.append(f"held out {report.validation_loss:.3f} ({', '.join(more)})")
        if report.outlier is not None and report.outlier > OUTLIER:
            parts.append(f"outlier: {report.outlier:.1f} deviations above")
        parts += [f"rate {names['rate']}", f"gradient {names['gradient']}"]
        return "  ".join([*parts, f"{names['tokens/s']} tokens/s", f"{names['left']} left"])

    def _draw(self) -> None:
        self._drawing = True
        try:
            self._screen.update(self.picture(), refresh=True)
        finally:
            self._drawing = False
        while self._notes:
            self._print(self._notes.pop(0))

    def picture(self) -> RenderableType:
        """Bar, curve, figures and the last sample, as wide as the console."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = min(self.console.width, 120)
        plain = self.console.options.ascii_only
        step = self._recent[-1].step
        head = Table.grid(expand=False)
        head.width = width
        head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right", no_wrap=True)
        head.add_row(
            Text(self.title, style="bold"),
            f" step {step:,} of {self.steps:,}, {100 * step // self.steps}%",
        )
        bar = Table.grid()  # which ends the bar's line
        bar.add_row(ProgressBar(self.steps, step, width=width))
        lines: list[RenderableType] = [head, bar]
        height = max(3, min(10, self.console.height - 13))
        lines += self._chart(width, height, plain)
        per_row = max(1, min(4, width // 20))
        table = Table.grid(padding=(0, 1 if width < 100 else 3))
        for _ in range(per_row):
            table.add_column(style="dim", no_wrap=True)
            table.add_column(justify="right", min_width=8, no_wrap=True)
        figures = self.figures()
        for first in range(0, len(figures), per_row):
            table.add_row(*(cell for pair in figures[first : first + per_row] for cell in pair))
        lines.append(table)
        if self._sample is not None:
            at, text = self._sample
            lines.append(Text(f"After step {at:,} it writes:", style="dim"))
            shown = Text(_one_line(text), style="italic").wrap(self.console, width)
            lines += list(shown[:3])
        return Group(*lines)

    def _chart(self, width: int, height: int, plain: bool) -> list[Text]:
        from rich.text import Text

        points = self.points or [(self._recent[-1].step, self._recent[-1].loss)]
        steps, losses = (np.array(column, float) for column in zip(*points, strict=True))
        span = (float(steps[0]), float(max(steps[-1], steps[0] + 1)))
        marked = [loss for _, loss in self._held_out + self._outliers]
        low, high = (float(f([*losses, *marked])) for f in (min, max))
        if high - low < 1e-3:
            low, high = low - 5e-4, high + 5e-4
        labels = [f"{value:.3g}" for value in (high, (high + low) / 2, low)]
        margin = max(map(len, labels))
        columns = max(8, width - margin - 1)
        dots = curve_dots(steps, losses, span, (low, high), (2 * columns, 4 * height))
        cells = [[(char, _LOSS) for char in row] for row in braille(dots, plain)]
        for marks, mark, style in (
            (self._held_out, "o" if plain else "●", _HELD_OUT),
            (self._outliers, "x" if plain else "×", _STRANGE),
        ):
            for step, loss in marks:
                if step < span[0]:
                    continue
                x = int((step - span[0]) / (span[1] - span[0]) * (columns - 1) + 0.5)
                y = int((high - loss) / (high - low) * (height - 1) + 0.5)
                cells[y][min(x, columns - 1)] = (mark, style)
        axis, corner, flat = ("|", "+", "-") if plain else ("│", "└", "─")
        at = {0: labels[0], height // 2: labels[1], height - 1: labels[2]}
        rows = [
            Text.assemble((f"{at.get(number, ''):>{margin}}{axis}", "dim"), *row, no_wrap=True)
            for number, row in enumerate(cells)
        ]
        ends = f"step {span[0]:,.0f}", f"{span[1]:,.0f}"
        rows.append(Text(" " * margin + corner + flat * columns, style="dim", no_wrap=True))
        gap = columns - len(ends[0]) - len(ends[1])
        rows.append(Text(" " * (margin + 1) + ends[0] + " " * gap + ends[1], style="dim"))
        legend = Text(no_wrap=True, overflow="ellipsis")
        legend.append("~ " if plain else "⠒ ", _LOSS).append(f"loss, {self.labels.loss}", "dim")
        if self._held_out:
            legend.append("  o " if plain else "  ● ", _HELD_OUT).append("held out", "dim")
        if self._outliers:
            legend.append("  x " if plain else "  × ", _STRANGE).append("outlier", "dim")
        return [*rows, legend]


def curve_dots(
    steps: np.ndarray,
    losses: np.ndarray,
    span: tuple[float, float],
    heights: tuple[float, float],
    size: tuple[int, int],
) -> np.ndarray:
    """Points -> dots [row, column] of a curve without gaps, row 0 the highest loss.

    span: the steps at the left and right edge. heights: the losses at the lower and upper edge.
    size: columns, rows. A column stands at the mean of its points.
    """
    columns, rows = size
    low, high = heights
    column = ((steps - span[0]) / (span[1] - span[0]) * (columns - 1) + 0.5).astype(int)
    counts = np.bincount(column, minlength=columns)
    sums = np.bincount(column, weights=losses, minlength=columns)
    there = np.flatnonzero(counts)
    every = np.arange(there[0], there[-1] + 1)
    means = np.interp(every, there, sums[there] / counts[there])
    row = ((high - means) / (high - low) * (rows - 1) + 0.5).astype(int).clip(0, rows - 1)
    before = np.concatenate([row[:1], row[:-1]])
    top, bottom = np.minimum(row, before), np.maximum(row, before)
    dots = np.zeros((rows, columns), bool)
    number = np.arange(rows)[:, None]
    dots[:, every] = (number >= top) & (number <= bottom)
    return dots


def braille(dots: np.ndarray, plain: bool = False) -> list[str]:
    """dots [4 rows, 2 columns] for each character -> lines of text. plain: ASCII alone."""
    rows, columns = dots.shape
    codes = (dots.reshape(rows // 4, 4, columns // 2, 2) * _BITS[None, :, None, :]).sum((1, 3))
    if plain:
        return ["".join("*" if code else " " for code in row) for row in codes]
    return ["".join(chr(0x2800 + code) if code else " " for code in row) for row in codes]


def duration(seconds: float) -> str:
    """3725 -> "1:02:05" """
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _perplexity(loss: float) -> str:
    return f"{math.exp(loss):,.4g}" if loss < 50 else "huge"


def _one_line(text: str) -> str:
    """Line ends and tabs as their glyphs; no other control character reaches the terminal."""
    line_end = f" {GLYPHS[chr(10)]} "
    return harmless(text).replace("\n", line_end).replace("\t", GLYPHS["\t"])
