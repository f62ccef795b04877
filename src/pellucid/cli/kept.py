"""How kept conversations are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..visible import on_one_line

if TYPE_CHECKING:
    from rich.console import Console

    from ..conversations import Head, Hit, Tree

__all__ = ["listed", "print_heads", "print_hits", "print_tree"]

DIGITS = 8  # of an id; any beginning that only one has will do
_WIDEST = 16  # cells of a column
_TITLE = 20  # cells that a title has at least
AROUND = 40  # characters of a message on each side of what was searched for


def listed(head: Head) -> dict[str, Any]:
    """A head as JSON holds it."""
    return {
        "id": head.id,
        "title": head.title,
        "created": head.created.isoformat(),
        "changed": head.changed.isoformat(),
        "model": head.model,
        "template": head.template,
        "n_messages": head.n_messages,
    }


def print_heads(screen: Console, heads: Sequence[Head]) -> None:
    """A line each. What is typed again, the id, is never cut; a narrow terminal has no room for
    the rest of what comes before the title."""
    from rich.text import Text

    from ..draw.terminal.canvas import fitted

    if not heads:
        screen.print("No conversation is kept here.")
        return
    columns = {
        "id": [head.id[:DIGITS] for head in heads],
        "changed": [f"{head.changed.astimezone():%Y-%m-%d %H:%M}" for head in heads],
        "messages": [f"{head.n_messages:,}" for head in heads],
        "model": [on_one_line(head.model) for head in heads],
    }
    widths = {name: min(max(map(len, (name, *texts))), _WIDEST) for name, texts in columns.items()}
    for name in ("model", "messages", "changed"):
        if screen.width - sum(widths.values()) - 2 * len(widths) < _TITLE:
            del widths[name]
    widths["title"] = max(1, screen.width - sum(widths.values()) - 2 * len(widths))
    columns["title"] = [on_one_line(head.title) for head in heads]
    for line, texts in enumerate(zip(*((name, *columns[name]) for name in widths), strict=True)):
        cells = [
            fitted(text, width, right=name == "messages")
            for text, (name, width) in zip(texts, widths.items(), strict=True)
        ]
        screen.print(Text("  ".join(cells).rstrip(), style="" if line else "bold"))


def print_tree(screen: Console, tree: Tree) -> None:
    """The branch that it goes on from, and where there are others."""
    from rich.text import Text

    head, path = tree.head, tree.path()
    screen.print(Text(on_one_line(head.title) or head.id, style="bold"), soft_wrap=True)
    about = f"{head.id} · {head.model} · {head.created.astimezone():%Y-%m-%d %H:%M}"
    screen.print(Text(about, style="dim"), soft_wrap=True)
    if head.system:
        _print_said(screen, "system", head.system, "")
    for message in path:
        siblings = [other.id for other in tree.children(message.parent)]
        beside = f" · {siblings.index(message.id) + 1} of {len(siblings)}"
        said = beside if len(siblings) > 1 else ""
        if not message.finished:
            said += " · broken off"
        model = message.generated.model if message.generated else "reply"
        _print_said(screen, "you" if message.role == "user" else model, message.text, said)
    if others := len(tree.messages) - len(path):
        screen.print(Text(f"\nMessages in other branches: {others}", style="dim"))


def _print_said(screen: Console, who: str, text: str, beside: str) -> None:
    from rich.text import Text

    line = Text("\n").append(on_one_line(who), style="bold").append(beside, style="dim")
    screen.print(line, soft_wrap=True)
    screen.print(Text(text), soft_wrap=True)


def print_hits(screen: Console, hits: Iterable[Hit], words: str) -> None:
    """Each message's conversation, and the text around the first of the words."""
    from rich.text import Text

    found = tuple(hits)
    for head, message in found:
        line = Text(head.id[:DIGITS], style="bold").append("  ")
        line.append(on_one_line(head.title), style="dim").append("\n    ")
        who = "you: " if message.role == "user" else "it: "
        line.append(who + on_one_line(_around(message.text, words)))
        screen.print(line, soft_wrap=True)
    if not found:
        screen.print(Text(f"Nobody said {on_one_line(words)}."), soft_wrap=True)


def _around(text: str, words: str) -> str:
    at = max(0, text.lower().find(words.split()[0].lower()))
    low, high = max(0, at - AROUND), at + len(words) + AROUND
    return f"{'…' * (low > 0)}{text[low:high]}{'…' * (high < len(text))}"
