"""Examples before each question: GPT-3's zero-, one- and few-shot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from .options import added

__all__ = ["with_shots"]

_OPTIONS = (
    click.option(
        "--shots", type=click.IntRange(0), default=0, metavar="K",
        help="Examples with their answer before each question, of lambada and hellaswag.",
    ),
    click.option(
        "--shots-from", metavar="FILE",
        help="Draw them from this file, the training part (default: from the other questions).",
    ),
    click.option("--shots-seed", type=int, default=1234, show_default=True, help="Of the drawing."),
    click.option(
        "--cloze/--no-cloze", default=None,
        help="LAMBADA's word as a blank to fill, or the text going on (default: a blank with "
        "--shots, as GPT-3's paper has it).",
    ),
)  # fmt: skip


def with_shots(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hands on shots, shots_from, shots_seed and cloze, as `evaluate.files.score_file` takes
    them."""
    return added(_OPTIONS, command)
