"""/branch: another way from a token of the last reply, as /tokens numbers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..visible import quoted, token_text, visible_bytes

if TYPE_CHECKING:
    from ..sequence import Step
    from ..tokenizer import Tokenizer
    from .exchange import Exchange

__all__ = ["branch"]


def branch(exchange: Exchange, argument: str) -> None:
    conversation, tokenizer = exchange.conversation, exchange.gpt.tokenizer
    last = conversation.last
    if last is None or not last.steps_so_far:
        raise InputError("there is no reply to branch from yet: say something first")
    number, _, typed = argument.partition(" ")
    n = len(last.steps_so_far)
    if not number.isdecimal() or not 1 <= int(number) <= n:
        raise InputError(f"the reply has {n} token{'s' * (n != 1)}: /branch 1 to /branch {n}")
    step = last.steps_so_far[int(number) - 1]
    token = _token(typed.strip(), step, tokenizer) if typed.strip() else None
    message = conversation.turns[-1].text
    reply = conversation.branch(int(number) - 1, token)
    old = _named(step.token, tokenizer)
    new = f"{old} is drawn again" if token is None else f"{_named(token, tokenizer)} for {old}"
    exchange.writer.note(
        f"Another reply, from token {number} on: {new}."
        + (
            " (It always takes the likeliest token: the same again.)"
            if token is None and exchange.greedy
            else ""
        )
    )
    exchange.stream(message, reply)


def _token(typed: str, step: Step, tokenizer: Tokenizer) -> int:
    """#id; or one of those that were likely there, as /tokens shows it or without its space; or
    any token, spelled as it is."""
    if typed.startswith("#") and typed[1:].isdecimal() and int(typed[1:]) < tokenizer.n_vocab:
        return int(typed[1:])
    for other in step.alternatives:
        value = tokenizer.bytes_of(other.token)
        if typed in (visible_bytes(value), token_text(value), token_text(value).strip()):
            return other.token
    ids = tokenizer.encode(typed.replace("␣", " "))
    if len(ids) != 1:
        raise InputError(
            f"{typed!r} is not one token but {len(ids)}; /tokens lists those that were likely "
            "there, and any can be named by its #id"
        )
    return ids[0]


def _named(token: int, tokenizer: Tokenizer) -> str:
    return quoted(token_text(tokenizer.bytes_of(token)))
