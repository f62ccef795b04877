"""What a request declares of a pass: places in it, texts, what is to be seen and changed; and the
field "pellucid", in which completions take that."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from .fields import Body, Ids
from .messages import Message

__all__ = [
    "MOST_PLACES",
    "DirectionRequest",
    "Inspection",
    "InterventionRequest",
    "Messages",
    "MessagesText",
    "Name",
    "Names",
    "Numbers",
    "Place",
    "Places",
    "Range",
    "Record",
    "ReplyPlace",
    "ReplyText",
    "SeenTrace",
    "Text",
    "TraceRequest",
    "Watched",
    "WithWatched",
]

MOST_PLACES = 4096
Place = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Names = Name | Annotated[list[Name], Field(min_length=1, max_length=64)]
Numbers = Annotated[list[float], Field(fail_fast=True, min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1)]
_Kept = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Range(Body):
    """start, start + 1, … as far as, and without, stop."""

    start: Annotated[int, Field(ge=0, le=1 << 14)] = 0
    stop: Annotated[int, Field(ge=1, le=1 << 14)]


Places = Place | Annotated[list[Place], Field(min_length=1, max_length=MOST_PLACES)] | Range


Messages = Annotated[list[Message], Field(min_length=1)]


class MessagesText(Body):
    """A conversation, as it stands before the model where the reply begins."""

    messages: Messages


class ReplyPlace(Body):
    """A reply that is kept, by the ids of its conversation and itself: what the model had before it
    when it predicted the reply's token `token` (0 is the first), on the very ids."""

    conversation: _Kept
    message: _Kept
    token: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class ReplyText(Body):
    reply: ReplyPlace


class TraceRequest(Body):
    """names: of values, "attn.pattern", with * and ? too. positions: "new", of each generated token
    the position that it was predicted from; "all"; or those, from the window's beginning. top_k: of
    the values that come with each token only so many, the largest."""

    names: Names
    layers: Places | None = None
    heads: Places | None = None
    positions: Literal["new", "all"] | Places = "new"
    top_k: Annotated[int, Field(ge=1, le=1024)] | None = None


class DirectionRequest(Body):
    """From one text to another, strength times as long as the residual stream."""

    towards: Text
    away: Text
    strength: float | None = None


class InterventionRequest(Body):
    """op: suppress (becomes 0), scale, add, set (by value) or patch (as it is in a pass over
    source). name: of a value. layer, head, position: only there, else everywhere; positions count
    from the window's beginning."""

    name: Name
    op: Literal["suppress", "scale", "add", "set", "patch"]
    layer: Places | None = None
    head: Places | None = None
    position: Places | None = None
    value: float | Numbers | DirectionRequest | None = None
    source: Text | Ids | MessagesText | ReplyText | None = None


class Inspection(Body):
    """What is to be seen, and changed, in this very completion."""

    trace: TraceRequest | None = None
    interventions: Annotated[list[InterventionRequest], Field(max_length=64)] | None = None


class Record(TypedDict):
    """position: that a token was predicted from. values: name -> its axes, shape and numbers there;
    with top_k their indices on the last axis. left_out: names for which there was no room."""

    position: int
    values: dict[str, dict[str, Any]]
    left_out: NotRequired[list[str]]


class SeenTrace(TypedDict):
    """id: for /v1/inspect/traces. records: one a token; in a stream record, with each token."""

    id: str
    records: NotRequired[list[Record | None]]
    record: NotRequired[Record | None]


class Watched(TypedDict):
    """trace: where one was asked for. interventions: how many were made."""

    trace: SeenTrace | None
    interventions: int


class WithWatched(TypedDict):
    """What a choice has beside, where its request had the field "pellucid"."""

    pellucid: NotRequired[Watched]
