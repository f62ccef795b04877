"""How a text is shown: every character of it to be seen, none obeyed by the terminal or page.

One table of glyphs for the tokenizer, the terminal, the HTML document and the web page.
"""

from __future__ import annotations

__all__ = [
    "GLYPHS",
    "as_seen",
    "harmless",
    "on_one_line",
    "quoted",
    "text_of",
    "token_text",
    "visible",
    "visible_bytes",
]

# What stands for a character that could not be seen, in a token.
GLYPHS: dict[str, str] = {" ": "␣", "\n": "⏎", "\t": "⇥"}
EMPTY = "∅"  # for a token without any text

# Characters that would act on a terminal (C0, C1), turn the direction of what follows, or not be
# seen at all: shown as their control pictures or as U+FFFD.
_CONTROLS: dict[int, str] = {i: chr(0x2400 + i) for i in range(0x20)}
_CONTROLS[0x7F] = "␡"
_CONTROLS |= dict.fromkeys([*range(0x80, 0xA0), 0xAD, 0x061C, 0xFEFF], "\ufffd")
_CONTROLS |= dict.fromkeys([*range(0x200B, 0x2010), *range(0x2028, 0x202F)], "\ufffd")
_CONTROLS |= dict.fromkeys(range(0x2060, 0x2070), "\ufffd")

_TOKEN = _CONTROLS | {ord(character): glyph for character, glyph in GLYPHS.items()}
# Joiners shape letters and emoji, and turn nothing: they stay in a text.
_TEXT = {code: glyph for code, glyph in _CONTROLS.items() if chr(code) not in "\n\t\u200c\u200d"}
_LINE = {code: glyph for code, glyph in _TOKEN.items() if chr(code) not in " \u200c\u200d"}


def visible(text: str) -> str:
    """A token's text, every character of it to be seen: " went" -> "␣went"."""
    return text.translate(_TOKEN) or EMPTY


def visible_bytes(value: bytes) -> str:
    """A token's bytes, every character to be seen; where they are no text, as `token_text`."""
    return visible(token_text(value))


def token_text(value: bytes) -> str:
    """A token's bytes as text where they are text by themselves, else as bytes: "⟨F0 9F⟩"."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _spelled(value)


def text_of(value: bytes) -> str:
    """The bytes of a whole text: only those that are no character even there stand as bytes."""
    parts: list[str] = []
    while True:
        try:
            return "".join([*parts, value.decode()])
        except UnicodeDecodeError as error:
            parts += [value[: error.start].decode(), _spelled(value[error.start : error.end])]
            value = value[error.end :]


def _spelled(value: bytes) -> str:
    """With no-break spaces, so that whoever makes spaces visible leaves them alone."""
    return f"⟨{value.hex(' ').upper()}⟩".replace(" ", "\u00a0")


def quoted(token: str) -> str:
    """A token named within a sentence: " went" -> “␣went”."""
    return f"“{visible(token)}”"


def on_one_line(text: str) -> str:
    """A text without its lines: line breaks and tabs as glyphs, spaces as they are."""
    return text.translate(_LINE)


def harmless(text: str) -> str:
    """A text as it is, with line breaks and tabs; all other control characters are shown, not
    obeyed. For whatever comes from a file, a model or a client and goes to a terminal."""
    return text.translate(_TEXT)


def as_seen() -> dict[str, str]:
    """The table of glyphs as JSON can hand it to a page: character -> what is shown."""
    return {chr(code): glyph for code, glyph in _TOKEN.items()}
