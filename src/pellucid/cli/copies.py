"""Conversations out of the store and back into it: parts of `pellucid conversations`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from ..visible import harmless
from .output import note
from .store import named, open_store, store_option

if TYPE_CHECKING:
    from ..conversations import Tree

__all__ = ["backup", "bring_in", "export"]


@click.command("export")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@store_option
@click.option("--all", "everything", is_flag=True, help="Every conversation.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "markdown"]),
    default="jsonl",
    show_default=True,
    help="jsonl: all of it, a line each. markdown: to be read.",
)
@click.option("--out", metavar="FILE", help="Into this file (default: standard output).")
def export(
    ids: tuple[str, ...], store: str | None, everything: bool, form: str, out: str | None
) -> None:
    """Write conversations out (default: the newest). `import` takes jsonl back, and `pellucid data`
    learns from it."""
    from ..files import write_file

    if everything and ids:
        raise click.UsageError("give the IDs of conversations, or --all, not both")
    with open_store(store) as opened:
        heads = opened.list(None) if everything else [named(opened, id) for id in ids or [None]]
        text = _exported([opened.tree(head.id) for head in heads], form)
    if out is not None:
        write_file(out, text.encode())
        note(f"Wrote {out}")
    else:
        click.echo(harmless(text) if sys.stdout.isatty() else text.encode(), nl=False)


def _exported(trees: Iterable[Tree], form: str) -> str:
    """form: jsonl, or markdown."""
    from ..conversations import line, markdown

    if form == "markdown":
        return "\n".join(map(markdown, trees))
    return "".join(json.dumps(line(tree), ensure_ascii=False) + "\n" for tree in trees)


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@store_option
def bring_in(file: str, store: str | None) -> None:
    """Take back what `export` wrote; of what is there already, only what it lacks."""
    from ..conversations import read_lines

    trees = list(read_lines(file))  # all of it, before any of it is kept
    with open_store(store, create=True) as opened:
        new = sum(opened.put_tree(tree) for tree in trees)
    note(f"{len(trees)} conversations with {new} messages that were not there yet.")


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False))
@store_option
def backup(file: str, store: str | None) -> None:
    """Copy all of it into another file, also while chats go on; --store FILE reads it."""
    if Path(file).exists():
        raise InputError(f"{file} is there already: name a new file for the backup")
    with open_store(store) as opened:
        opened.backup(file)
    note(f"Wrote {file}")
