"""`pellucid tokens`: how a text is split into tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..visible import harmless, quoted, text_of, visible_bytes
from .loading import load
from .output import console, say, to_json
from .text import Prompt, with_text

if TYPE_CHECKING:
    from rich.text import Text

    from ..tokenizer import MergedWord, Piece

__all__ = ["coloured", "command"]

# Black on pale grounds, so that they read on light and dark terminals alike.
GROUNDS = ("#cfe3ff", "#ffe1b3", "#d6f0d0", "#f3d3e8", "#e3dcf7")


@click.command("tokens")
@with_text
@click.option("--model", "-m", metavar="M", help="Whose tokenizer (default: the embedded model's).")
@click.option("--merges", is_flag=True, help="Also each merge that formed the pieces.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(prompt: Prompt, model: str | None, merges: bool, as_json: bool) -> None:
    """Show the pieces of TEXT and their ids. TEXT - reads standard input.

    Bytes that are no character by themselves are shown as bytes: ⟨F0 9F⟩.
    """
    from ..checkpoint import load_tokenizer
    from ..gpt import DEFAULT
    from ..tokenizer.spelled import spelled

    text = prompt.text
    if prompt.chat:
        if merges:
            raise click.UsageError("--merges goes with a text, not with --chat")
        gpt = load(model)  # which knows its template
        pieces, words = gpt.tokenizer.pieces(prompt.ids(gpt)), None
        text = text_of(b"".join(piece.bytes for piece in pieces))
    else:
        tokenizer = load_tokenizer(model or DEFAULT)
        pieces = tokenizer.pieces(tokenizer.framed(tokenizer.encode(text)))
        words = tokenizer.merges(text) if merges else None
    if as_json:
        say(to_json(spelled(text, pieces, words)), data=True)
        return
    screen = console()
    screen.print(coloured(pieces), soft_wrap=True)
    screen.print(f"{len(pieces)} tokens, {len(text)} characters", style="dim")
    for piece in pieces:
        line = f"{piece.id:>7}  {visible_bytes(piece.bytes)}"
        screen.print(line, markup=False, soft_wrap=True)
    for word in words or ():
        print_merges(word)
    if words:
        screen.print("\nThe number is the merge's rank: the lowest goes first.", style="dim")


def print_merges(word: MergedWord) -> None:
    """The bytes that a word begins as, and each merge with what it leaves."""
    screen = console()
    screen.print(f"\n{quoted(word.text)}: {len(word.start)} bytes", style="bold", markup=False)
    start = "·".join(map(visible_bytes, word.start))
    screen.print(f"         {start}", markup=False, soft_wrap=True)
    for merge in word.merges:
        parts = "·".join(map(visible_bytes, merge.parts))
        pair = " + ".join(map(visible_bytes, merge.pair))
        screen.print(f"{merge.rank:>7}  {parts}   ({pair})", markup=False, soft_wrap=True)


def coloured(pieces: list[Piece]) -> Text:
    """The pieces side by side on changing grounds; without colour, divided by |."""
    from rich.text import Text

    plain = not console().is_terminal
    line = Text()
    for number, piece in enumerate(pieces):
        shown = harmless(piece.shown)
        if plain:
            line.append(("|" if number else "") + shown)
        else:
            line.append(shown, style=f"black on {GROUNDS[number % len(GROUNDS)]}")
    return line
