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
        "-": "−–─━╸╺↔⠒",
        "'": "“”",
        "x": "×",
        "|": "│┃‖▐▏▎▍▌",
        "+": "┬└├┼▒",
        "%": "▓",
        "#": "█▇▆▅▋▊▉",
        "=": "▄▃▂▁▀",
        " ": "\u00a0",
    }.items()
    for character in characters
}
# What formulas are made of has names.
_PLAIN |= {"√": "sqrt ", "∞": "inf", "ᵀ": "^T", "∂": "d", "Σ": "sum ", "ε": "eps", "∅": "(empty)"}
# The pictures of control characters are those characters, escaped.
_PLAIN |= {chr(0x2400 + code): f"\\x{code:02x}" for code in range(0x20)} | {"␡": "\\x7f"}


def print_plainly() -> None:
    """From here on, standard output and error show what their encoding lacks: our own marks by
    ASCII that looks like them, any other character by its escape. They never fail."""
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
    return "".join(_PLAIN.get(each) or _escaped(each) for each in lacking), error.end


def _escaped(character: str) -> str:
    """é -> \\xe9, 字 -> \\u5b57, as Python writes them; a byte that was no text is itself."""
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")
