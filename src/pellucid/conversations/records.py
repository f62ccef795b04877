"""What a store keeps: a conversation's head, and its messages as a tree."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Alternative", "Generated", "Head", "Hit", "Message", "Role", "Token", "Tree", "new_id"]

Role = Literal["user", "assistant"]


def new_id() -> str:
    """16 hexadecimal digits, drawn by whoever says something: no store has to be asked."""
    return os.urandom(8).hex()


class Alternative(NamedTuple):
    """A token that was likely at a step. text: as `visible.token_text` writes its bytes."""

    token: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of a reply.

    text: what it added to the reply's text; those of a reply, joined, are its text. bytes: its own,
    which may be part of a character. logprob: natural logarithm of the probability that the model
    gave it; None where that was not kept. alternatives: the likeliest at its step.
    Raises InputError for a logarithm that is no number.
    """

    id: int
    text: str
    bytes: bytes
    logprob: float | None = None
    alternatives: tuple[Alternative, ...] = ()

    def __post_init__(self) -> None:
        for value in (self.logprob, *(other.logprob for other in self.alternatives)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"the log-probability of a token must be finite, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """How a model came to a reply.

    prompt: the ids that it was generated from. reason: why it ended; None where it was broken
    off. model: its name. settings: `Settings.flat`. tokens: in their order, the one that ended it
    included.
    """

    prompt: tuple[int, ...]
    seed: int
    reason: str | None
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What was said, once: an edited message, or another reply, is a sibling of the first.

    parent: the id of what it answers; None at a root. source: the sibling that it was made from by
    editing it, by replying again, or by taking another token at its step `step` (0 is the first);
    step is None where nothing of the source's tokens was kept. generated: None for what a
    person said, and for a reply that no model here made.
    """

    id: str
    conversation: str
    parent: str | None
    role: Role
    text: str
    created: datetime
    source: str | None = None
    step: int | None = None
    generated: Generated | None = None

    @property
    def finished(self) -> bool:
        """Whether it stays as it is; a reply that was broken off may be written again, longer."""
        return self.generated is None or self.generated.reason is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A conversation without its messages.

    model: the name of the model that answers next; tokenizer: its `fingerprint`. settings: of the
    next reply, `Settings.flat`. system: the text at the beginning, or None. leaf: the message that
    it goes on from, or None. n_messages: all of the tree's.
    """

    id: str
    title: str
    created: datetime
    changed: datetime
    model: str
    tokenizer: str
    template: str
    settings: Mapping[str, Any]
    system: str | None = None
    leaf: str | None = None
    n_messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A conversation. messages: in the order in which they were kept, parents first."""

    head: Head
    messages: tuple[Message, ...]

    def path(self, leaf: str | None = None) -> tuple[Message, ...]:
        """From a root to this message, or to the one that the conversation goes on from.

        Raises InputError for a message that is not in it.
        """
        known = {message.id: message for message in self.messages}
        at = self.head.leaf if leaf is None else leaf
        way: list[Message] = []
        while at is not None:
            if at not in known:
                raise InputError(f"the conversation {self.head.id} has no message {at}")
            way.append(known[at])
            at = known[at].parent
        return tuple(reversed(way))

    def leaves(self) -> tuple[Message, ...]:
        """Those that nothing follows, each the end of a branch, in the order of `messages`."""
        followed = {message.parent for message in self.messages}
        return tuple(message for message in self.messages if message.id not in followed)

    def children(self, parent: str | None) -> tuple[Message, ...]:
        """What was said next, in the order in which it was; None: the roots."""
        return tuple(message for message in self.messages if message.parent == parent)


class Hit(NamedTuple):
    """A message in which something was found."""

    head: Head
    message: Message
