"""A run's losses as a picture."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import write_file
from .config import Labels, read_config
from .log import read_log

__all__ = ["draw_losses"]

# Okabe and Ito's blue and vermilion, distinct for every kind of colour vision
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#5b5b5b"
_TICKS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))  # few, or many where few do not suffice


def draw_losses(run: str | os.PathLike[str]) -> list[Path]:
    """Draw RUN/log.jsonl to RUN/loss.png and RUN/loss.svg; returns both paths.

    The run's task, in its config.toml, says what the loss is called.

    Raises InputError without matplotlib, and where there is no log.
    """
    steps = read_log(run)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError('the plot needs matplotlib: pip install "pellucid[train]"') from error
    # Text stays text in the SVG, and the same log gives the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pellucid", "font.size": 10}):
        figure = Figure(figsize=(9, 6), layout="constrained", facecolor="white")
        _draw(figure, steps, Path(run).resolve().name, _labels(Path(run)))
        paths = []
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix, dpi=150, metadata=metadata)
            paths.append(Path(run) / f"loss.{suffix}")
            write_file(paths[-1], drawn.getvalue())
    return paths


def _labels(run: Path) -> Labels:
    path = run / "config.toml"
    return read_config(path).labels if path.is_file() else Labels()


def _draw(figure: Any, steps: list[dict[str, Any]], name: str, labels: Labels) -> None:
    at = np.array([step["step"] for step in steps])
    loss = np.array([step["loss"] for step in steps], float)
    norm = np.array([step["norm"] for step in steps], float)
    rate = np.array([step["rate"] for step in steps], float)
    held_out = [
        (step["step"], step["validation_loss"])
        for step in steps
        if step.get("validation_loss") is not None
    ]
    extra = [name for name in labels.measures if any(name in _measures(step) for step in steps)]
    rows = 3 + len(extra)
    axes, *below = figure.subplots(rows, 1, sharex=True, height_ratios=[5] + [1] * (rows - 1))
    norms, rates = below[-2:]
    window = max(1, len(loss) // 100)
    if window > 1:
        axes.plot(at, loss, color=_BLUE, alpha=0.25, linewidth=0.8)
    label = "training" if window == 1 else f"training, mean of {window} steps"
    axes.plot(at[window - 1 :], _mean(loss, window), color=_BLUE, linewidth=1.6, label=label)
    if held_out:
        x, y = zip(*held_out, strict=True)
        lowest, best = min((loss, step) for step, loss in held_out)
        label = f"held out, lowest {lowest:.3f} at step {best:,}"
        axes.plot(x, y, "o-", color=_VERMILION, markersize=4, linewidth=1.2, label=label)
    axes.set_ylabel(f"loss ({labels.loss})")
    axes.set_title(f"{name}: loss over {int(at[-1]):,} steps of {steps[-1]['tokens']:,} tokens")
    axes.legend(frameon=False)
    if labels.perplexity:
        _perplexity_axis(axes)
    for part, measure in zip(below, extra, strict=False):
        _draw_measure(part, steps, measure)
    norms.plot(at, norm, color=_GREY, linewidth=0.8)
    norms.set_ylabel("gradient\nnorm")
    rates.plot(at, rate, color=_GREY, linewidth=1.2)
    rates.set_ylabel("learning\nrate")
    rates.set_xlabel("step")
    for each in (axes, *below):
        each.grid(color="#e5e5e5", linewidth=0.6)
        each.spines[["top", "right"]].set_visible(False)
    for each in (norms, rates):
        each.set_ylim(bottom=0)
    figure.align_ylabels((axes, *below))


def _perplexity_axis(axes: Any) -> None:
    """On the right: exp of the loss."""
    right = axes.secondary_yaxis("right", functions=(np.exp, lambda x: np.log(np.maximum(x, 1e-9))))
    low, high = np.exp(axes.get_ylim())
    for digits in _TICKS:
        ticks = [
            n * 10**power for power in range(9) for n in digits if low <= n * 10**power <= high
        ]
        if len(ticks) > 2:
            break
    right.set_yticks(ticks or [round(float(high), 2)])
    right.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    right.minorticks_off()
    right.set_ylabel("perplexity")


def _draw_measure(axes: Any, steps: list[dict[str, Any]], name: str) -> None:
    """What else the task measures, and the same held out."""
    for key, colour, mark in ((name, _BLUE, "-"), (f"validation_{name}", _VERMILION, "o-")):
        points = [(step["step"], _measures(step)[key]) for step in steps if key in _measures(step)]
        if points:
            axes.plot(*zip(*points, strict=True), mark, color=colour, markersize=3, linewidth=0.9)
    axes.set_ylabel(name)


def _measures(step: dict[str, Any]) -> dict[str, float]:
    return step.get("measures") or {}


def _mean(values: np.ndarray, window: int) -> np.ndarray:
    """Each the mean of itself and the window - 1 before it."""
    return np.convolve(values, np.full(window, 1 / window), mode="valid")
