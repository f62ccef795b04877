"""How much of a conversation the window holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from .template import Message, Template

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["Exchange", "Fitted", "fit"]

_LONGEST_TOKEN = 128  # characters; GPT-2's longest token is as long


class Exchange(NamedTuple):
    """A user's message and the reply to it: None where there is none yet; ids as they were
    generated, or the text where the ids say more than was kept of it."""

    message: str
    reply: str | Sequence[int] | None


class Fitted(NamedTuple):
    """ids: what the model goes on from. n_dropped: exchanges that the window has no room for.
    n_kept_of_message: tokens of the newest message that fit, or None where all of it does."""

    ids: list[int]
    n_dropped: int
    n_kept_of_message: int | None


def fit(
    template: Template,
    tokenizer: Tokenizer,
    message: str,
    past: Sequence[Exchange] = (),
    *,
    system: str | None = None,
    window: int,
    reply: int,
) -> Fitted:
    """A conversation in a window of so many tokens, of which `reply` stay free for the answer.

    The oldest exchanges are left out first, never the system text; a newest message that is too
    long by itself loses its beginning. Raises InputError where not even one token of it fits.
    """
    opening = list(tokenizer.rules.begin)
    for first in template.written([Message("system", system)] if system else []):
        opening += first.ids(tokenizer)
    cue = template.cue(tokenizer)
    around = len(template.turn(tokenizer, "user", []))
    room = window - reply - len(opening) - len(cue)
    if room - around < 1:
        raise InputError(
            f"a window of {window} tokens is too small for the {template.name!r} template"
        )
    # Text that cannot fit is dropped before it is encoded.
    message = message[-_LONGEST_TOKEN * window :]
    newest, n_kept = template.turn(tokenizer, "user", message), None
    if len(newest) > room:
        n_kept = room - around
        newest = template.turn(tokenizer, "user", tokenizer.encode(message)[-n_kept:])
    room -= len(newest)
    kept: list[list[int]] = []
    for exchange in reversed(past):
        turn = template.turn(tokenizer, "user", exchange.message[-_LONGEST_TOKEN * window :])
        if exchange.reply is not None:
            turn += template.turn(
                tokenizer, "assistant", template.spoken(tokenizer, exchange.reply)
            )
        if len(turn) > room:
            break
        room -= len(turn)
        kept.append(turn)
    earlier = [i for turn in reversed(kept) for i in turn]
    return Fitted([*opening, *earlier, *newest, *cue], len(past) - len(kept), n_kept)
