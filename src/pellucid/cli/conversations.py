"""`pellucid conversations`: what was said in the chat, kept on this machine."""

from __future__ import annotations

import click

from ..visible import on_one_line
from .copies import backup, bring_in, export
from .output import console, note, say, to_json
from .store import named, open_store, store_option

__all__ = ["command"]


@click.group("conversations", no_args_is_help=True)
def command() -> None:
    """List, show, search, export, import, delete and back up what `pellucid chat` kept.

    An ID is what `list` shows, or its first digits.
    """


@command.command("list")
@store_option
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="So many.")
@click.option("--before", metavar="ID", help="Only those changed before this one: the next page.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON each.")
def list_them(store: str | None, limit: int, before: str | None, as_json: bool) -> None:
    """Those changed last come first."""
    from ..conversations import Head, store_path
    from .kept import listed, print_heads

    heads: tuple[Head, ...] = ()
    if store is not None or store_path().exists():
        with open_store(store) as opened:
            last = None if before is None else opened.find(before).id
            heads = opened.list(limit, last)
    if as_json:
        for head in heads:
            say(to_json(listed(head)), data=True)
        return
    print_heads(console(), heads)
    if len(heads) == limit:
        note(f"More: pellucid conversations list --before {heads[-1].id[:8]}")


@command.command("show")
@click.argument("id", required=False)
@store_option
@click.option("--json", "as_json", is_flag=True, help="All of it, as `export` writes it.")
def show(id: str | None, store: str | None, as_json: bool) -> None:
    """One conversation (default: the newest), along the branch that it goes on from."""
    from ..conversations import line
    from .kept import print_tree

    with open_store(store) as opened:
        tree = opened.tree(named(opened, id).id)
    if as_json:
        say(to_json(line(tree)), data=True)
    else:
        print_tree(console(), tree)


@command.command("search")
@click.argument("text", nargs=-1, required=True)
@store_option
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="So many.")
def search(text: tuple[str, ...], store: str | None, limit: int) -> None:
    """Messages that hold every word of TEXT, in capitals or not; the newest first."""
    from .kept import print_hits

    words = " ".join(text)
    with open_store(store) as opened:
        print_hits(console(), opened.search(words, limit), words)


@command.command("delete")
@click.argument("ids", nargs=-1, metavar="ID...")
@store_option
@click.option("--yes", is_flag=True, help="Without asking.")
def delete(ids: tuple[str, ...], store: str | None, yes: bool) -> None:
    """Delete conversations, with all their branches; they cannot be brought back."""
    if not ids:
        raise click.UsageError(
            "give the IDs of conversations: `pellucid conversations list` shows them"
        )
    with open_store(store) as opened:
        heads = {head.id: head for head in map(opened.find, ids)}
        for head in heads.values():
            if yes or click.confirm(f"Delete {head.id[:8]}, “{on_one_line(head.title)}”?"):
                opened.delete(head.id)
                note(f"Deleted {head.id[:8]}")


for part in (export, bring_in, backup):
    command.add_command(part)
