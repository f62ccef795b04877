"""A bar on the terminal, for what takes a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .options import console

if TYPE_CHECKING:
    from ..data.prepare import Progress

__all__ = ["watching"]


@contextmanager
def watching() -> Iterator[Progress]:
    """For as long as texts are read: what `prepare` tells of it."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description:<10}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TimeRemainingColumn(),
    )
    screen = console(stderr=True)
    bar = progress.Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    )
    with bar:
        task = bar.add_task("reading", total=None)
        yield lambda stage, n_read, n_bytes: bar.update(
            task, description=stage, completed=n_read, total=n_bytes or None
        )
