"""What the verbs that train share: flags made of a configuration's fields, and the run itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import fields, replace
from typing import Any

import click

from ..train.config import TrainConfig, help_of
from .options import console
from .output import say

__all__ = ["describe", "finish", "flags", "with_page"]

# Other spellings: torchrun, which looks at our options too, takes --start for one of its own.
_OTHERS = {"start": ("--from",)}
_KINDS: dict[str, Any] = {"int": int, "float": float, "str": str}


def flags(
    config: type[TrainConfig], without: Collection[str], pairs: type[TrainConfig] | None = None
) -> Callable[..., Any]:
    """A flag for each field but those named, None where nobody sets it. pairs: --pairs' fields."""
    own = {each.name: each.default for each in fields(pairs or config)}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields(config)):
            if field.name in without:
                continue
            kind = str(field.type).removesuffix(" | None")
            flag = f"--{field.name.replace('_', '-')}"
            default = "" if field.default in (None, False) else f"default: {field.default}"
            if (its := own.get(field.name, field.default)) not in (field.default, None, ""):
                default += f"{'; ' if default else 'default '}with --pairs: {its}"
            command = click.option(
                f"{flag}/--no-{flag[2:]}" if kind == "bool" else flag,
                *_OTHERS.get(field.name, ()),
                field.name,
                type=_KINDS.get(kind),
                default=None,
                help=help_of(config, field.name) + (f" [{default}]" if default else ""),
            )(command)
        return command

    return decorate


def with_page(help: str) -> Callable[..., Any]:
    """--page, with a port or without: hands on `page`, None where it is not given."""
    return click.option(
        "--page",
        type=click.IntRange(0, 65535),
        is_flag=False,
        flag_value=0,
        metavar="[PORT]",
        help=help,
    )


def describe(settings: TrainConfig, sources: tuple[str, ...], n_vocab: int | None) -> None:
    """The configuration, and what it amounts to."""
    from ..data.corpus import open_corpus
    from ..data.files import find_files
    from ..train.describe import outlook
    from ..train.run import corpus_folder

    folder, there = corpus_folder(settings, sources, n_vocab)
    if there:
        settings = replace(settings, corpus=str(folder))
    else:
        find_files(sources, without=folder)  # whoever named what is not there is told now
    shown = settings.to_toml()
    if settings.start is not None:  # whose shape is its own
        shown = re.sub(
            r"^(n_(?:ctx|embd|head|layer)|band) = .*$", r"# \1 is that of start", shown, flags=re.M
        )
    say(shown, data=True)
    _show(outlook(settings, open_corpus(folder) if there else None, n_vocab))


def _show(rows: list[tuple[str, str]], *commands: str) -> None:
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


def finish(settings: TrainConfig, page: int | None = None) -> None:
    """Train, or go on, until the last step: exit code 130 or 143 after Ctrl-C or SIGTERM.

    page: a port of this machine on which a browser may watch; 0 is any, None none."""
    from ..train.describe import results
    from ..train.run import learn, trainer_for

    screen = console(stderr=True)
    with screen.status("reading"):
        trainer = trainer_for(settings)
    with ExitStack() as others:
        if page is not None and trainer.processes.first:
            from ..history.live import beside

            url = others.enter_context(beside(trainer.out, page))
            screen.print(f"Watch it learn: {url}", markup=False, soft_wrap=True)
        came = learn(trainer, screen)
    if came:
        raise SystemExit(128 + came)
    if trainer.processes.first:
        _show(results(trainer), *trainer.task.commands(trainer.out / "model"))
