"""A run's losses as a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import write_file

__all__ = ["plot", "read_log"]

LOG = "log.jsonl"
# Okabe and Ito's blue and vermilion, distinct for every kind of colour vision
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#5b5b5b"
_TICKS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))  # few, or many where few do not suffice


def read_log(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One dict a step: the fields of `StepReport`. A line cut short by a crash is left out.

    Raises InputError where there is no log, or where no step is in it.
    """
    path = Path(run) / LOG
    steps: list[dict[str, Any]] = []
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    step = json.loads(line)
                    float(step["loss"]), int(step["step"])
                except (ValueError, KeyError, TypeError):
                    continue
                steps.append(step)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{run} is no training run: cannot read {path} ({error})") from error
    if not steps:
        raise InputError(f"{path} has no step in it: nothing to draw yet")
    return steps


def plot(run: str | os.PathLike[str]) -> list[Path]:
    """Draw RUN/log.jsonl to RUN/loss.png and RUN/loss.svg; returns both paths.

    Raises InputError without matplotlib, and where there is no log.
    """
    steps = read_log(run)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError('the plot needs matplotlib: pip install "pellucid[train]"') from error
    import io

    # Text stays text in the SVG, and the same log gives the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pellucid", "font.size": 10}):
        figure = Figure(figsize=(9, 6), layout="constrained", facecolor="white")
        _draw(figure, steps, Path(run).resolve().name)
        paths = []
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix, dpi=150, metadata=metadata)
            paths.append(Path(run) / f"loss.{suffix}")
            write_file(paths[-1], drawn.getvalue())
    return paths


def _draw(figure: Any, steps: list[dict[str, Any]], name: str) -> None:
    at = np.array([step["step"] for step in steps])
    loss = np.array([step["loss"] for step in steps], float)
    norm = np.array([step["norm"] for step in steps], float)
    rate = np.array([step["rate"] for step in steps], float)
    held_out = [
        (step["step"], step["validation_loss"])
        for step in steps
        if step.get("validation_loss") is not None
    ]
    axes, norms, rates = figure.subplots(3, 1, sharex=True, height_ratios=[5, 1, 1])
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
    axes.set_ylabel("loss (nats/token)")
    axes.set_title(f"{name}: loss over {int(at[-1]):,} steps of {steps[-1]['tokens']:,} tokens")
    axes.legend(frameon=False)
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
    norms.plot(at, norm, color=_GREY, linewidth=0.8)
    norms.set_ylabel("gradient\nnorm")
    rates.plot(at, rate, color=_GREY, linewidth=1.2)
    rates.set_ylabel("learning\nrate")
    rates.set_xlabel("step")
    for each in (axes, norms, rates):
        each.grid(color="#e5e5e5", linewidth=0.6)
        each.spines[["top", "right"]].set_visible(False)
    for each in (norms, rates):
        each.set_ylim(bottom=0)
    figure.align_ylabels((axes, norms, rates))


def _mean(values: np.ndarray, window: int) -> np.ndarray:
    """Each the mean of itself and the window - 1 before it."""
    return np.convolve(values, np.full(window, 1 / window), mode="valid")
