"""`pellucid train --pairs`: the original Transformer learns to write one text as another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..train.config import TrainConfig, TranslationConfig
from .training import finish, flags

__all__ = ["or_pairs"]

Command = Callable[..., Any]

_SHARED = {field.name for field in fields(TrainConfig)} | {"n_vocab"}  # whose flags are there
_OWN = {field.name for field in fields(TranslationConfig)} - _SHARED


def or_pairs(command: Command) -> Command:
    """--pairs, and the flags that go with it alone: a run that learns from pairs, in the command's
    place."""

    @wraps(command)
    def run(*, pairs: str | None, **rest: Any) -> None:
        own = {name: value for name in _OWN if (value := rest.pop(name)) is not None}
        if pairs is None:
            if own:
                raise click.UsageError(f"--{min(own).replace('_', '-')} goes with --pairs FILE")
            command(**rest)
            return
        others = {"texts": "TEXTS", "resume": "--resume", "dry_run": "--dry-run"}
        others |= {"page": "--page", "band": "--band"}
        for name, what in others.items():
            given = rest.pop(name)
            if given or (name == "page" and given is not None):  # whose port may be 0
                raise click.UsageError(f"--pairs FILE goes without {what}")
        _learn({**rest, **own, "corpus": pairs})

    run = flags(TranslationConfig, without=_SHARED)(run)
    return click.option(
        "--pairs",
        metavar="FILE",
        help="Rows of source and target (TSV, JSONL): the original Transformer learns to write the "
        "one as the other. Its defaults are its paper's, or small.",
    )(run)


def _learn(given: dict[str, Any]) -> None:
    config: Path | None = given.pop("config")
    changed = {name: value for name, value in given.items() if value is not None}
    if config is not None:
        finish(TranslationConfig.read(config, changed))
        return
    if "out" not in changed:
        raise click.UsageError("give --out RUN: pellucid train --pairs pairs.tsv --out run")
    finish(TranslationConfig.from_dict(changed))
