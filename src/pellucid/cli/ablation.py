"""What `ablate` and `sweep` share: what takes the place of a part, and which token is watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from .types import TOKEN

__all__ = ["with_ablation"]

_OPTIONS = (
    click.option(
        "--how",
        type=click.Choice(["zero", "mean", "resample"]),
        default="zero",
        show_default=True,
        help="What takes its place.",
    ),
    click.option("--reference", metavar="TEXT", help="Where mean and resample take values from."),
    click.option("--target", type=TOKEN, help="The token watched (default: the likeliest)."),
    click.option("--position", type=int, default=-1, help="After which (default: the last)."),
    click.option("--seed", type=click.IntRange(0), default=0, help="For --how resample."),
)


def with_ablation(command: Callable[..., Any]) -> Callable[..., Any]:
    """--how, --reference, --target, --position, --seed; hands them on as `ablation`."""

    @wraps(command)
    def run(**options: Any) -> Any:
        names = ("how", "reference", "target", "position", "seed")
        return command(ablation={name: options.pop(name) for name in names}, **options)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
