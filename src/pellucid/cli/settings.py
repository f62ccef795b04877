"""How a text goes on: sampling, limits and stops as options."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .types import TOKEN

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["with_settings"]

Command = Callable[..., Any]

# name, type, what it does, the default where the model's card recommends nothing
_SAMPLING: tuple[tuple[str, Any, str, str], ...] = (
    ("--greedy/--no-greedy", None, "Always the token of highest probability.", "no"),
    ("--temperature", float, "Divides the logits; 0 is greedy.", "1.0"),
    ("--top-k", click.IntRange(1), "Only the k likeliest tokens.", "all"),
    ("--top-p", float, "Only the likeliest that together reach this.", "all"),
    ("--min-p", float, "Only tokens at least so likely beside the best.", "all"),
    ("--repetition-penalty", float, "Divides the logits of tokens seen before.", "1.0"),
    ("--presence-penalty", float, "Lowers tokens generated before.", "0.0"),
    ("--frequency-penalty", float, "Lowers tokens once per occurrence so far.", "0.0"),
)
SAMPLING = {flag.split("/")[0][2:].replace("-", "_") for flag, *_ in _SAMPLING}


def with_settings(max_tokens: int | None = None, *, least: int = 1) -> Callable[[Command], Command]:
    """The sampling, --seed, --max-tokens, --n-ctx, --stop and --stop-token. Inside `with_model`;
    hands on `settings`: the arguments of `GPT.generate` that a person or the model's card set.

    max_tokens: the default; None is until the window is full. least: the fewest that may be asked
    for, where there is a default.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(*, gpt: GPT, **rest: Any) -> Any:
            from ..sampling import recommended

            settings = {name: rest.pop(name) for name in (*SAMPLING, "seed", "n_ctx", "stop")}
            settings["max_tokens"] = rest.pop("max_tokens")
            settings["stop_tokens"] = _stop_tokens(gpt, rest.pop("stop_token"))
            chosen = {name: value for name, value in settings.items() if value not in (None, ())}
            return command(gpt=gpt, settings=recommended(gpt.card, chosen) | chosen, **rest)

        decorated: Command = run
        for option in reversed(_options(max_tokens, least)):
            decorated = option(decorated)
        return decorated

    return decorate


def _stop_tokens(gpt: GPT, tokens: tuple[str | int, ...]) -> tuple[int, ...]:
    """Their ids; a special token is named as it is written."""
    if not tokens:  # nothing to look up: what looks it up imports all of inspection
        return ()
    from ..inspect.finding import token_id

    special = gpt.tokenizer.special_tokens
    return tuple(
        special[str(token)] if token in special else token_id(gpt, token) for token in tokens
    )


def _options(max_tokens: int | None, least: int) -> list[Callable[[Command], Command]]:
    sampling = [
        click.option(
            flag,
            type=kind,
            default=None,
            help=text,
            show_default=f"the model's own, else {default}",
        )
        for flag, kind, text, default in _SAMPLING
    ]
    return [
        *sampling,
        click.option("--seed", type=click.IntRange(0), help="Makes sampling repeatable."),
        click.option(
            "--max-tokens",
            type=click.IntRange(0 if max_tokens is None else least),
            default=max_tokens,
            show_default="until the window is full" if max_tokens is None else True,
            help="At most so many tokens.",
        ),
        click.option("--n-ctx", type=click.IntRange(1), help="A smaller context window."),
        click.option("--stop", multiple=True, help="A text that ends it; may be repeated."),
        click.option(
            "--stop-token",
            type=TOKEN,
            multiple=True,
            help="A token, or #id, that ends it; may be repeated.",
            show_default="every special token",
        ),
    ]
