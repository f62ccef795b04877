"""What several verbs share: the options that choose a model, and where output goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from ..gpt import GPT

__all__ = ["console", "load_model", "model_options"]


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--model, --backend, --device, --dtype, --threads: pass them on to `load_model`."""
    for option in (
        click.option("--threads", type=click.IntRange(1), help="Cores to use (default: all)."),
        click.option("--dtype", help="float32 (default), float64; with torch also bfloat16."),
        click.option("--device", help='With --backend torch: "cpu", "cuda", ...'),
        click.option(
            "--backend",
            type=click.Choice(["numpy", "torch"]),
            default="numpy",
            show_default=True,
            help="What computes.",
        ),
        click.option(
            "--model",
            "-m",
            metavar="M",
            help="An embedded model, a folder, a file, or a hub name such as gpt2.",
        ),
    ):
        command = option(command)
    return command


def load_model(
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
) -> GPT:
    from ..gpt import load

    return load(model, backend=backend, device=device, dtype=dtype, threads=threads)


def console(*, stderr: bool = False) -> Console:
    """Colour in a terminal, plain text in a pipe."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)
