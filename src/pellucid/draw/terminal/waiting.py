"""A bar for what takes a while, gone once it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["waiting"]

_PATIENCE = 0.3  # seconds, before which nobody wonders


@contextmanager
def waiting(
    screen: Console, what: str, patience: float = _PATIENCE
) -> Iterator[Callable[[int, int], None]]:
    """Yields what is told (done, of how many). Elsewhere than in a terminal nothing is shown.

    patience: seconds before the bar comes.
    """
    columns = (
        TextColumn("{task.description}", style="dim"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    task = bar.add_task(what, total=None)
    began = time.monotonic()

    def tell(done: int, of: int) -> None:
        if not bar.live.is_started and time.monotonic() - began >= patience:
            bar.start()
        bar.update(task, completed=done, total=of)

    try:
        yield tell
    finally:
        if bar.live.is_started:
            bar.stop()
