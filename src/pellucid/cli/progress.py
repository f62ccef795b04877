"""A bar on the terminal, for what takes a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from .options import console

if TYPE_CHECKING:
    from ..data.prepare import Progress

__all__ = ["told", "watching"]


def told(what: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """For as long as something is asked many times over: what is told how many it has done."""
    from ..draw.terminal.waiting import waiting

    return waiting(console(stderr=True), what)


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
