"""How a model's card is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..hparams import LIMITS
from ..visible import harmless
from .output import console, say, to_json

__all__ = ["print_card"]


def print_card(name: str, *, as_json: bool) -> None:
    from rich.text import Text

    from .. import checkpoint

    model = checkpoint.load(name)
    own = {
        **model.hparams.to_dict(),
        "parameters": model.hparams.n_params,
        "template": model.template,
    }
    if as_json:
        say(to_json({**own, "card": model.card}), data=True)
        return
    screen = console()
    for depth, key, value in lines({**model.card, **own}):
        line = Text(harmless(key), style="bold" if depth == 0 else "") + harmless(value)
        if not screen.is_terminal:
            screen.print(Text("  " * depth) + line, soft_wrap=True)
            continue
        for number, part in enumerate(line.wrap(screen, max(20, screen.width - 2 * depth - 4))):
            screen.print(Text("  " * (depth + 2 * (number > 0))) + part)


def lines(table: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """A card -> (depth, key, value) line by line, as a person reads it."""
    for key, value in table.items():
        name = (key if key in LIMITS else str(key).replace("_", " ")) + ":"
        if isinstance(value, Mapping) and any(map(_nested, value.values())):
            yield depth, name, ""
            yield from lines(value, depth + 1)
        elif isinstance(value, list) and value:
            yield depth, name, ""
            yield from ((depth + 1, "", _plain(each)) for each in value)
        else:
            yield depth, name, f" {_plain(value)}"


_LONG = 1_000  # from here on digits stand in groups of three


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if _is_word(value):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) and value >= _LONG else str(value)


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)
