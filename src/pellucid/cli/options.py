"""What several verbs share: the options that choose a model, and where output goes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from rich.console import Console

    from ..gpt import GPT

__all__ = [
    "chosen_sampling",
    "console",
    "given_text",
    "load_model",
    "model_options",
    "own_sampling",
    "sampling_options",
]


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


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The fields of `Sampling`, and the seed."""
    penalties = (
        ("--frequency-penalty", 0.0, "Lower tokens once per occurrence so far."),
        ("--presence-penalty", 0.0, "Lower tokens generated before."),
        ("--repetition-penalty", 1.0, "Divide the logits of tokens seen before; 1 does nothing."),
    )
    for flag, default, text in penalties:
        command = click.option(flag, type=float, default=default, help=text)(command)
    for option in (
        click.option("--seed", type=click.IntRange(0), help="Makes sampling repeatable."),
        click.option("--min-p", type=float, help="Only tokens at least so likely beside the best."),
        click.option("--top-p", type=float, help="Only the likeliest that together reach this."),
        click.option("--top-k", type=click.IntRange(1), help="Only the k likeliest tokens."),
        click.option(
            "--temperature", type=float, default=1.0, show_default=True, help="0 is greedy."
        ),
        click.option("--greedy", is_flag=True, help="Always the token of highest probability."),
    ):
        command = option(command)
    return command


def chosen_sampling(given: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The sampling that a person set, or the model's own where nothing but a seed was set."""
    context = click.get_current_context()
    names = set(given) - {"seed"}
    if any(context.get_parameter_source(name) != ParameterSource.DEFAULT for name in names):
        return given
    return {**own, "seed": given.get("seed")}


def own_sampling(gpt: GPT) -> dict[str, Any]:
    """The settings that a model's card recommends, or none."""
    recommended = gpt.card.get("sampling")
    return dict(recommended) if isinstance(recommended, dict) else {}


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


def given_text(text: str | None, example: str) -> str:
    """The argument TEXT, or standard input where it is - or missing.

    Raises a usage error where there is none, or where its bytes are not UTF-8.
    """
    if text is None or text == "-":
        if sys.stdin.isatty():
            raise click.UsageError(f"give a text: {example}")
        try:
            return sys.stdin.buffer.read().decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            wrong = f"byte {error.object[error.start]:#04x} at {error.start}"
            raise click.UsageError(f"standard input is not UTF-8 text: {wrong}") from error
    try:
        text.encode()
    except UnicodeEncodeError as error:  # what the shell passed was not UTF-8
        raise click.UsageError(f"the text is not UTF-8, from character {error.start}") from error
    return text
