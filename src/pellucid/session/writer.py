"""Text of a model or a person in a terminal: harmless, and wrapped between words as it comes."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from ..visible import harmless

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Writer"]

TAB = "    "


class Writer:
    """Writes piece by piece. A word is held back until it is whole, so that it can begin a new
    line where it would not fit; one that is longer than a line goes on in the next.
    """

    def __init__(self, screen: Console) -> None:
        self.screen = screen
        self._column = 0  # cells written in this line
        self._space: list[tuple[str, str | None]] = []  # held back: before the word
        self._word: list[tuple[str, str | None]] = []

    def write(self, text: str, style: str | None = None) -> None:
        from rich.cells import cell_len

        for character in harmless(text).replace("\t", TAB):
            if character == "\n":
                self._end_word()
                self._end_line()
            elif character.isspace():
                self._end_word()
                self._space.append((character, style))
            elif cell_len(character) > 1:  # Chinese, Japanese, emoji: a line may end anywhere
                self._end_word()
                self._word.append((character, style))
                self._end_word()
            else:
                self._word.append((character, style))
                if _width(self._word) >= self.screen.width:
                    self._end_word()

    def end(self) -> None:
        """What is held back, and the end of the line."""
        self._end_word()
        self._end_line()

    def note(self, text: str) -> None:
        """A line beside the conversation."""
        self.line(text, style="dim")

    def line(self, text: str, style: str | None = None) -> None:
        """A whole line of text, with nothing in it obeyed."""
        self.screen.print(harmless(text), style=style, markup=False, emoji=False)

    def entry(self, name: str, text: str, room: int) -> None:
        """A name of at most so many cells, and what it is, which goes on below itself."""
        from ..draw.terminal.canvas import folded

        for line in folded(harmless(text), max(12, self.screen.width - room - 3)):
            self.line(f"  {name:<{room}} {line}")
            name = ""

    def _end_word(self) -> None:
        if not self._word:
            return
        if self._column + _width(self._space) + _width(self._word) > self.screen.width:
            if self._column:
                self._end_line()
            self._space = []
        for style, run in groupby([*self._space, *self._word], key=itemgetter(1)):
            self._print("".join(character for character, _ in run), style)
        self._column += _width(self._space) + _width(self._word)
        self._space, self._word = [], []

    def _end_line(self) -> None:
        self._print("\n")
        self._column, self._space = 0, []

    def _print(self, text: str, style: str | None = None) -> None:
        self.screen.print(text, end="", style=style, markup=False, emoji=False, soft_wrap=True)


def _width(characters: list[tuple[str, str | None]]) -> int:
    """In cells of the terminal."""
    from rich.cells import cell_len

    return sum(cell_len(character) for character, _ in characters)
