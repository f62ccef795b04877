"""What is printed for a character that a terminal's or pipe's encoding does not have."""

from __future__ import annotations

import codecs
import io
import sys

__all__ = ["ascii_only", "print_plainly"]

# One character for one, so that columns stay where they are.
_PLAIN = {
    character: plain
    for plain, characters in {
        "_": "␣",
        "/": "⏎",
        ">": "⇥→⇒⟩≥",
        "<": "⟨≤",
        ".": "…·░",
        "*": "●",
        "-": "−–─━↔",
        "'": "“”",
        "x": "×",
        "|": "│┃‖▐▏▎▍▌",
        "+": "┬└├┼▒",
        "%": "▓",
        "#": "█▇▆▅▋▊▉",
        "=": "▄▃▂▁▀",
    }.items()
    for character in characters
}


def print_plainly() -> None:
    """From here on, standard output and error show what their encoding lacks by ASCII, and do not
    fail. Python's own error handlers either fail or print an escape that breaks the columns."""
    codecs.register_error("pellucid", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pellucid")


def ascii_only() -> bool:
    """Whether standard output lacks some characters: JSON escapes them, and loses nothing."""
    return not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lacking), error.end
