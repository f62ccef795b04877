"""A walk, step by step, at a person's pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect import Walk

__all__ = ["step_through"]


def step_through(way: Walk, screen: Console) -> None:
    """Step after step, each once a person has seen the one before."""
    n, key = len(way.steps), ""
    for number, step in enumerate(way.steps, start=1):
        screen.print(step)
        if number == n:
            return
        if key in ("a", "A"):
            screen.print()
            continue
        key = _asked(f"Step {number} of {n}. Enter: the next. a: all the rest. q: leave.")
        if key in ("q", "Q", "\x04"):
            return


def _asked(question: str) -> str:
    """The key that was pressed: one of those that mean something here."""
    click.echo(f"\n{question} ", nl=False)
    while (key := _key()) not in "\r\n aAqQ\x04":
        pass
    click.echo("\n")
    return key


def _key() -> str:
    try:
        return click.getchar()
    except EOFError:
        return "\x04"
