"""What a terminal would get, as text."""

from __future__ import annotations

import io
import re

from rich.console import Console, RenderableType

__all__ = ["bare", "printed", "screen", "text_of"]


def screen(width: int = 80, *, colour: bool = False, height: int | None = None) -> Console:
    """A console that keeps what is printed. colour: as on a terminal that has all colours."""
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        color_system="truecolor" if colour else None,
        force_terminal=colour,
        legacy_windows=False,
        highlight=False,
    )


def text_of(console: Console) -> str:
    """What was printed since it was last asked."""
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    console.file.seek(0)
    console.file.truncate()
    return text


def printed(content: RenderableType, width: int = 80, *, colour: bool = False) -> str:
    console = screen(width, colour=colour)
    console.print(content)
    return text_of(console)


def bare(text: str) -> str:
    """Without the codes of colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
