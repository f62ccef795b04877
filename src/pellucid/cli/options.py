"""Options that several verbs share. Each decorator adds them and hands on what they amount to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from . import loading
from .output import console
from .types import INDICES, TOKEN

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["added", "console", "places", "with_loader", "with_machine", "with_model", "with_target"]

Command = Callable[..., Any]

_MODEL = (
    click.option(
        "--model",
        "-m",
        metavar="M",
        help="An embedded model, a folder, a file, or a hub name such as gpt2.",
    ),
    click.option(
        "--backend",
        type=click.Choice(["auto", "numpy", "native", "torch"]),
        default="auto",
        show_default=True,
        help="What computes; auto: native where it is built, else numpy.",
    ),
    click.option("--device", help='With --backend torch: "cpu", "cuda", ...'),
    click.option(
        "--dtype", help="float32 (default), float64; torch: bfloat16; native: bfloat16, int8, int4."
    ),
    click.option("--keys", help="Keys and values, with native: int8, float16, float32."),
    click.option("--threads", type=click.IntRange(1), help="Cores to use (default: all)."),
)
_MACHINE = ("backend", "device", "dtype", "threads", "keys")


def with_loader(command: Command) -> Command:
    """What `with_machine` adds; hands on `load`, which takes nothing and returns the GPT."""

    @wraps(command)
    def run(*, model: str | None, machine: dict[str, Any], **rest: Any) -> Any:
        return command(load=partial(loading.load, model, **machine), **rest)

    return with_machine(run)


def with_machine(command: Command) -> Command:
    """--model, --backend, --device, --dtype, --keys, --threads; hands on `model` as it was given,
    and `machine`: the other arguments of `pellucid.load`."""

    @wraps(command)
    def run(**rest: Any) -> Any:
        machine = {name: rest.pop(name) for name in _MACHINE}
        return command(machine=machine, **rest)

    return added(_MODEL, run)


def with_model(command: Command) -> Command:
    """What `with_machine` adds; hands on the loaded `gpt`."""

    @wraps(command)
    def run(*, load: Callable[[], GPT], **rest: Any) -> Any:
        return command(gpt=load(), **rest)

    return with_loader(run)


def with_target(command: Command) -> Command:
    """--target, --versus, --position; hands them on."""
    return added(
        (
            click.option(
                "--target",
                type=TOKEN,
                help="The token, or #id (default: the likeliest). Mind spaces.",
            ),
            click.option(
                "--versus", type=TOKEN, help="The token that it is held against: the difference."
            ),
            click.option("--position", type=int, default=-1, help="After which (default: last)."),
        ),
        command,
    )


def places(*names: str) -> Callable[[Command], Command]:
    """--layer, --head, --position with numbers such as 0,2,4-6; negative from the end."""
    text = "Only these {}s: 0,2,4-6 or -1, the last."
    return lambda command: added(
        tuple(
            click.option(
                f"--{name}", f"--{name}s", f"{name}s", type=INDICES, help=text.format(name)
            )
            for name in names
        ),
        command,
    )


def added(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    """In --help they stand in this order."""
    for option in reversed(options):
        command = option(command)
    return command
