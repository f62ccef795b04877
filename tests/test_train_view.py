"""What training shows: the curve's dots, the figures, and what it costs."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import sys
from dataclasses import asdict

import numpy as np
import pytest
from rich.console import Console

from pellucid.errors import InputError
from pellucid.train.config import PreferenceConfig
from pellucid.train.log import StepReport, read_log, rewind
from pellucid.train.plot import draw_losses
from pellucid.train.view import View, braille, curve_dots, duration
from support.skips import needs


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def report(step, loss=None, **changed):
    fields = {"norm": 0.5, "rate": 1e-3, "tokens": 512, "seconds": 0.1}
    return StepReport(step=step, loss=5 / step if loss is None else loss, **{**fields, **changed})


def terminal(width=100, height=40):
    return Console(
        file=io.StringIO(), force_terminal=True, highlight=False, width=width, height=height
    )


def lines_of(view) -> list[str]:
    """The picture as plain text."""
    console = view.console
    options = console.options.update(width=console.width)
    return ["".join(s.text for s in line) for line in console.render_lines(view.picture(), options)]


def test_braille_dots_are_where_unicode_has_them():
    for row in range(4):
        for column in range(2):
            dots = np.zeros((4, 2), bool)
            dots[row, column] = True
            name = f"BRAILLE PATTERN DOTS-{[[1, 4], [2, 5], [3, 6], [7, 8]][row][column]}"
            assert braille(dots) == [f"\\N{{{name}}}".encode().decode("unicode_escape")]
    assert braille(np.ones((4, 4), bool)) == ["⣿⣿"]
    assert braille(np.zeros((8, 2), bool)) == [" ", " "]


def test_the_curve_has_no_gaps_and_keeps_its_ends():
    steps = np.array([1.0, 5.0, 50.0, 100.0])
    losses = np.array([6.0, 3.0, 2.5, 2.0])
    dots = curve_dots(steps, losses, (1, 100), (2, 6), (40, 16))
    assert dots.any(0).all()  # every column
    assert dots[0, 0]
    assert dots[-1, -1]
    filled = [np.flatnonzero(column) for column in dots.T]
    for left, right in itertools.pairwise(filled):
        assert left.min() <= right.max() + 1
        assert right.min() <= left.max() + 1
        assert right.max() >= left.max()  # it falls
    for column in filled:
        assert (np.diff(column) == 1).all()


def test_a_constant_loss_can_be_drawn():
    view = View(terminal(), 3, "run")
    view.remember([report(1, 2.0), report(2, 2.0)])
    assert any("2" in line for line in lines_of(view))


@pytest.mark.parametrize("width", [24, 40, 80, 100, 200])
def test_the_picture_fits_the_terminal(width):
    view = View(terminal(width), 300, "a run with a long name: 12,345,678 parameters")
    view.remember(report(step) for step in range(1, 150))
    view.remember([report(150, validation_loss=1.25, outlier=9.0)])
    view.sample(150, "Once upon a time\n" + "there was a cat " * 30)
    lines = lines_of(view)
    assert max(map(len, lines)) <= width
    assert len(lines) < 40
    text = "\n".join(lines)
    for shown in ("1.250", "3.49", "1.0e-03", "0.50", "5,120", "●", "×", "150 of 300"):
        assert shown in text, shown
    assert "⏎" in text


def test_marks_stand_where_they_were_measured():
    view = View(terminal(60), 100, "run")
    view.remember(report(step, 4.0 - 0.02 * step) for step in range(1, 50))
    view.remember([report(50, 9.0, outlier=5.0)])
    view.remember(report(step, 4.0 - 0.02 * step) for step in range(51, 100))
    view.remember([report(100, 2.0, validation_loss=2.0)])
    lines = lines_of(view)
    chart = [line for line in lines if "│" in line]
    top = next(line for line in chart if "×" in line)
    assert top is chart[0]
    assert abs(top.index("×") - (len(top) + top.index("│")) // 2) <= 1
    held_out = next(line for line in chart if "●" in line)
    assert held_out is chart[-1]
    assert held_out.rstrip().endswith("●")


def test_ascii_where_the_terminal_knows_no_more():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    view = View(Console(file=file, width=60, height=30), 10, "run")
    view.remember([report(1), report(2, validation_loss=2.0), report(3, outlier=8.0)])
    lines = lines_of(view)
    assert all(line.isascii() for line in lines)
    for mark in "*ox|+":
        assert any(mark in line for line in lines)


def test_at_most_four_drawings_a_second_and_one_hundredth_of_the_time(monkeypatch):
    clock, drawn = Clock(), []
    view = View(terminal(), 10_000, "run", clock)
    cost = 0.0

    def picture(self):
        drawn.append(clock.now)
        clock.now += cost
        return ""

    monkeypatch.setattr(View, "picture", picture)
    with view:
        for step in range(1, 1001):
            clock.now += 0.01
            view.step(report(step))
        assert 38 <= len(drawn) <= 41  # 10 seconds
        assert min(np.diff(drawn)) >= 0.25
        cost, before = 0.02, len(drawn)
        begin = clock.now
        for step in range(1001, 3001):
            clock.now += 0.01
            view.step(report(step))
        assert (len(drawn) - before) * cost <= 0.011 * (clock.now - begin) + cost


def test_long_runs_keep_few_points():
    view = View(terminal(), 10**6, "run")
    view.remember(report(step, 3.0) for step in range(1, 100_001))
    assert len(view.points) <= 16_384
    assert view.points[-1][0] > 99_000
    assert lines_of(view)


def test_without_a_terminal_lines_come_now_and_then():
    clock, file = Clock(), io.StringIO()
    view = View(Console(file=file, width=40), 100, "run", clock)
    with view:
        for step in range(1, 101):
            clock.now += 0.2
            held_out = 2.0 if step == 50 else None
            view.step(report(step, validation_loss=held_out, outlier=7.0 if step == 50 else None))
        view.sample(100, "Once\x1b[2J upon")
    lines = file.getvalue().splitlines()
    assert 5 <= len(lines) <= 7
    assert "\x1b" not in file.getvalue()
    (held_out,) = [line for line in lines if "held out" in line]
    assert held_out.startswith("step 50/100  loss 0.100  held out 2.000 (perplexity 7.389)")
    assert "outlier: 7.0 deviations above" in held_out
    assert "5,120 tokens/s  0:10 left" in held_out
    assert lines[-2].startswith("step 100/100")
    assert lines[-1] == "step 100 writes: Once␛[2J upon"


def test_a_terminal_gets_the_last_picture_and_its_notes():
    console = terminal(60)
    with View(console, 5, "run") as view:
        for step in range(1, 6):
            view.step(report(step))
        view.note("[bold]as it is[/bold]")
    printed = console.file.getvalue()
    assert "5 of 5, 100%" in printed
    assert "[bold]as it is[/bold]" in printed


def test_a_note_that_comes_while_it_is_drawn_is_printed_after(monkeypatch):
    console = terminal(60)
    picture = View.picture

    def signalled(view):
        view.note("a signal came")
        return picture(view)

    with View(console, 5, "run") as view:
        monkeypatch.setattr(View, "picture", signalled)
        view.step(report(1))
        monkeypatch.undo()
    assert console.file.getvalue().count("a signal came") == 1


def test_duration():
    assert [duration(s) for s in (0, 0.2, 59, 61, 3725)] == [
        "0:00",
        "0:01",
        "0:59",
        "1:01",
        "1:02:05",
    ]


def log(folder, n=40):
    steps = [
        {
            "step": step, "loss": 6 / math.sqrt(step), "norm": 1.0, "rate": 1e-3, "tokens": 64,
            "validation_loss": 7 / math.sqrt(step) if step % 10 == 0 else None,
        }
        for step in range(1, n + 1)
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(step) + "\n" for step in steps)
    (folder / "log.jsonl").write_text(text + '{"step": 41, "lo')
    return folder


def test_a_line_cut_short_is_left_out(tmp_path):
    assert [step["step"] for step in read_log(log(tmp_path / "run"))] == list(range(1, 41))


@pytest.mark.parametrize("n", [1, 2500])
def test_the_plot_says_what_it_shows(tmp_path, n):
    needs("matplotlib")
    run = log(tmp_path / "a_run", n)
    png, svg = draw_losses(run)
    assert png.read_bytes().startswith(b"\x89PNG")
    drawn = svg.read_text(encoding="utf-8")
    for label in ("loss (nats/token)", "perplexity", "step", "a_run"):
        assert label in drawn, label
    assert "#0072b2" in drawn
    if n >= 40:
        lowest = min(
            step["validation_loss"] for step in read_log(run) if step["validation_loss"] is not None
        )
        assert f"held out, lowest {lowest:.3f} at step {n - n % 10:,}" in drawn
        assert "#d55e00" in drawn


def test_other_losses_have_their_own_names(tmp_path):
    """Of preferences: nats a pair, no perplexity, and what else is measured."""
    needs("matplotlib")
    config = PreferenceConfig(corpus="p", out="o", start="s")
    run = tmp_path / "run"
    run.mkdir()
    reports = [
        report(step, 0.5, measures={"accuracy": 0.75, "margin": 0.1, "validation_accuracy": 0.5})
        for step in range(1, 9)
    ]
    (run / "config.toml").write_text(config.to_toml())
    (run / "log.jsonl").write_text("".join(json.dumps(asdict(r)) + "\n" for r in reports))
    drawn = draw_losses(run)[1].read_text(encoding="utf-8")
    for label in ("loss (nats/pair)", "accuracy", "margin"):
        assert label in drawn, label
    assert "perplexity" not in drawn
    file = io.StringIO()
    with View(Console(file=file, width=80), 8, "run", labels=config.labels) as view:
        view.remember(reports[:-1])
        view.step(report(8, 0.5, validation_loss=0.6, measures=reports[0].measures))
    assert "held out 0.600 (accuracy 0.500)" in file.getvalue()
    shown = "\n".join(lines_of(view))
    assert "nats/pair" in shown
    assert "0.750" in shown
    assert "perplexity" not in file.getvalue() + shown


def test_the_log_is_whole_at_every_moment(tmp_path, monkeypatch):
    """Killed while it is shortened: the longer one is still there."""
    run = log(tmp_path / "run")
    before = (run / "log.jsonl").read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        rewind(run, 10)
    assert (run / "log.jsonl").read_bytes() == before
    monkeypatch.undo()
    rewind(run, 10)
    assert [step["step"] for step in read_log(run)] == list(range(1, 11))


def test_no_log_is_said(tmp_path):
    with pytest.raises(InputError, match="no training run"):
        draw_losses(tmp_path)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(InputError, match="no step"):
        draw_losses(tmp_path)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pellucid\[train\]"):
        draw_losses(log(tmp_path / "run"))
