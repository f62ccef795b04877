"""What the verbs that train share: flags made of a configuration's fields, and the run itself."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Any

import click

from ..train.config import TrainConfig, help_of
from .options import console

__all__ = ["finish", "flags", "show"]

# Other spellings: torchrun, which looks at our options too, takes --start for one of its own.
_OTHERS = {"start": ("--from",)}
_KINDS: dict[str, Any] = {"int": int, "float": float, "str": str}


def flags(config: type[TrainConfig], without: Collection[str]) -> Callable[..., Any]:
    """A flag for each field but those named; its value is None where nobody sets it."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields(config)):
            if field.name in without:
                continue
            kind = str(field.type).removesuffix(" | None")
            flag = f"--{field.name.replace('_', '-')}"
            others = _OTHERS.get(field.name, ())
            default = "" if field.default in (None, False) else f" [default: {field.default}]"
            command = click.option(
                f"{flag}/--no-{flag[2:]}" if kind == "bool" else flag,
                *others,
                field.name,
                type=_KINDS.get(kind),
                default=None,
                help=help_of(config, field.name) + default,
            )(command)
        return command

    return decorate


def show(rows: list[tuple[str, str]], *commands: str) -> None:
    """A table of names and values, and what can be done next."""
    from rich.table import Table

    screen = console()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    screen.print(table)
    for line in commands:
        screen.print(line, markup=False, soft_wrap=True, style="bold")


def finish(settings: TrainConfig) -> None:
    """Train, or go on, until the last step: exit code 130 or 143 after Ctrl-C or SIGTERM."""
    from ..train.describe import results
    from ..train.run import learn, trainer_for

    screen = console(stderr=True)
    with screen.status("reading"):
        trainer = trainer_for(settings)
    if came := learn(trainer, screen):
        raise SystemExit(128 + came)
    if trainer.processes.first:
        show(results(trainer), *trainer.task.commands(trainer.out / "model"))
