"""`pellucid tokens`: how a text is split into tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ..visible import visible_bytes
from .options import console, given_text

if TYPE_CHECKING:
    from rich.text import Text

    from ..tokenizer import Piece

__all__ = ["coloured", "command"]

# Black on pale grounds, so that they read on light and dark terminals alike.
GROUNDS = ("#cfe3ff", "#ffe1b3", "#d6f0d0", "#f3d3e8", "#e3dcf7")


@click.command("tokens")
@click.argument("text", required=False)
@click.option("--model", "-m", metavar="M", help="Whose tokenizer (default: the embedded model's).")
@click.option("--merges", is_flag=True, help="Also each merge that formed the pieces.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(text: str | None, model: str | None, merges: bool, as_json: bool) -> None:
    """Show the pieces of TEXT and their ids. TEXT - reads standard input.

    Bytes that are no character by themselves are shown as bytes: ⟨F0 9F⟩.
    """
    from ..checkpoint import load_tokenizer
    from ..gpt import DEFAULT

    text = given_text(text, 'pellucid tokens "The power clapper"')
    tokenizer = load_tokenizer(model or DEFAULT)
    pieces = tokenizer.pieces(text)
    work = tokenizer.merges(text) if merges else []
    if as_json:
        table: dict[str, object] = {
            "text": text,
            "tokens": [
                {"id": piece.id, "text": piece.text, "bytes": list(piece.bytes)} for piece in pieces
            ],
        }
        if merges:
            table["words"] = [
                {
                    "text": word.text,
                    "merges": [
                        {"rank": m.rank, "pair": list(map(visible_bytes, m.pair)),
                         "parts": list(map(visible_bytes, m.parts))}
                        for m in word.merges
                    ],
                }
                for word in work
            ]  # fmt: skip
        click.echo(json.dumps(table, ensure_ascii=False))
        return
    screen = console()
    screen.print(coloured(pieces), soft_wrap=True)
    screen.print(f"{len(pieces)} tokens, {len(text)} characters", style="dim")
    width = max((len(piece.shown) for piece in pieces), default=0)
    for piece in pieces:
        screen.print(f"{piece.id:>7}  {piece.shown:<{width}}", markup=False, soft_wrap=True)
    for word in work:
        screen.print()
        screen.print(f"{word.text!r}: {len(word.start)} bytes", style="bold", markup=False)
        screen.print(
            "         " + "·".join(map(visible_bytes, word.start)), markup=False, soft_wrap=True
        )
        for merge in word.merges:
            parts = "·".join(map(visible_bytes, merge.parts))
            pair = " + ".join(map(visible_bytes, merge.pair))
            line = f"{merge.rank:>7}  {parts}   ({pair})"
            screen.print(line, markup=False, soft_wrap=True)
    if work:
        screen.print("\nThe number is the merge's rank: the lowest goes first.", style="dim")


def coloured(pieces: list[Piece]) -> Text:
    """The pieces side by side on changing grounds; without colour, divided by |."""
    from rich.text import Text

    plain = not console().is_terminal
    line = Text()
    for number, piece in enumerate(pieces):
        if plain:
            line.append(("|" if number else "") + piece.shown)
        else:
            line.append(piece.shown, style=f"black on {GROUNDS[number % len(GROUNDS)]}")
    return line
