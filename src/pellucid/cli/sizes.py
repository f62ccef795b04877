"""--size: the shape of a model to be trained, by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ..train.config import of_size

__all__ = ["with_size"]


def with_size(command: Callable[..., Any]) -> Callable[..., Any]:
    """Sets the fields of the shape; flags win over it."""

    @wraps(command)
    def run(*, size: str | None, **options: Any) -> Any:
        if size is not None:
            if options["texts"] == ("talk",):
                raise click.UsageError("the model `talk` has a shape of its own: no --size here")
            if any(options[name] is not None for name in ("resume", "start", "pairs")):
                raise click.UsageError("--size is for fresh weights of a GPT")
            for field, value in of_size(size).items():
                if options[field] is None:
                    options[field] = value
        return command(**options)

    return click.option(
        "--size", metavar="NAME", help="A shape of `pellucid models`, such as gpt3-small."
    )(run)
