"""What is asked of inspection, and what it answers: the field "pellucid" of completions, and
/v1/inspect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from .fields import Body, Ids
from .messages import Message

__all__ = [
    "REQUESTS",
    "DirectionRequest",
    "Inspection",
    "InterventionRequest",
    "Job",
    "JobRequest",
    "MessagesText",
    "PatchRequest",
    "PictureData",
    "Places",
    "Range",
    "Record",
    "ReplyPlace",
    "ReplyText",
    "SeenTrace",
    "TextRequest",
    "Tokens",
    "TokensOfIds",
    "TokensOfText",
    "TraceInfo",
    "TraceRequest",
    "ValueInfo",
    "ValuesPage",
    "Watched",
    "WithWatched",
]

_MOST_PLACES = 4096
_Place = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_Names = _Name | Annotated[list[_Name], Field(min_length=1, max_length=64)]
_Numbers = Annotated[list[float], Field(fail_fast=True, min_length=1)]
_Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
_TokenName = Annotated[str, StringConstraints(min_length=1, max_length=200)] | _Place
_Text = Annotated[str, StringConstraints(min_length=1)]
_Kept = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Range(Body):
    """start, start + 1, … as far as, and without, stop."""

    start: Annotated[int, Field(ge=0, le=1 << 14)] = 0
    stop: Annotated[int, Field(ge=1, le=1 << 14)]


Places = _Place | Annotated[list[_Place], Field(min_length=1, max_length=_MOST_PLACES)] | Range


_Messages = Annotated[list[Message], Field(min_length=1)]


class MessagesText(Body):
    """A conversation, as it stands before the model where the reply begins."""

    messages: _Messages


class ReplyPlace(Body):
    """A reply that is kept, by the ids of its conversation and itself: what the model had before it
    when it predicted the reply's token `token` (0 is the first), on the very ids."""

    conversation: _Kept
    message: _Kept
    token: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class ReplyText(Body):
    reply: ReplyPlace


# The field "pellucid"


class TraceRequest(Body):
    """names: of values, "attn.pattern", with * and ? too. positions: "new", of each generated token
    the position that it was predicted from; "all"; or those, from the window's beginning. top_k: of
    the values that come with each token only so many, the largest."""

    names: _Names
    layers: Places | None = None
    heads: Places | None = None
    positions: Literal["new", "all"] | Places = "new"
    top_k: Annotated[int, Field(ge=1, le=1024)] | None = None


class DirectionRequest(Body):
    """From one text to another, strength times as long as the residual stream."""

    towards: _Text
    away: _Text
    strength: float | None = None


class InterventionRequest(Body):
    """op: suppress (becomes 0), scale, add, set (by value) or patch (as it is in a pass over
    source). name: of a value. layer, head, position: only there, else everywhere; positions count
    from the window's beginning."""

    name: _Name
    op: Literal["suppress", "scale", "add", "set", "patch"]
    layer: Places | None = None
    head: Places | None = None
    position: Places | None = None
    value: float | _Numbers | DirectionRequest | None = None
    source: _Text | Ids | MessagesText | ReplyText | None = None


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


# /v1/inspect


class JobRequest(Body):
    """What is not said is as in Python."""


class TextRequest(JobRequest):
    """Of these one: text, as a text or as ids; messages, as they stand where a reply begins; or
    reply, of a conversation that is kept: then the question is about the token that was said there,
    where it takes a target or a continuation and none is named."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [name]} for name in ("text", "messages", "reply")]
        }
    )

    text: _Text | Ids | SkipJsonSchema[None] = None
    messages: _Messages | SkipJsonSchema[None] = None
    reply: ReplyPlace | SkipJsonSchema[None] = None


class _Lens(TextRequest):
    target: _TokenName | None = None
    positions: Places | None = None
    k: Annotated[int, Field(ge=1, le=100)] | None = None


class _Attribute(TextRequest):
    target: _TokenName | None = None
    versus: _TokenName | None = None
    position: _Place | None = None


class _Why(TextRequest):
    continuation: _Text | Ids | None = None
    token: _Place | None = None
    labels: bool | None = None


_How = Literal["zero", "mean", "resample"]


class _Ablation(TextRequest):
    how: _How | None = None
    reference: _Text | Ids | None = None
    target: _TokenName | None = None
    position: _Place | None = None
    seed: _Seed | None = None


class _Ablate(_Ablation):
    heads: (
        Annotated[
            list[Annotated[list[_Place], Field(min_length=2, max_length=2)]],
            Field(max_length=_MOST_PLACES),
        ]
        | None
    ) = None
    mlps: Annotated[list[_Place], Field(max_length=_MOST_PLACES)] | None = None
    positions: Annotated[list[_Place], Field(max_length=_MOST_PLACES)] | None = None


class _Sweep(_Ablation):
    over: Literal["heads", "mlps", "positions"] | None = None


class PatchRequest(JobRequest):
    """source, base: two texts of as many tokens."""

    source: _Text | Ids | MessagesText | ReplyText
    base: _Text | Ids | MessagesText | ReplyText
    over: Literal["positions", "heads"] | None = None
    target: _TokenName | None = None
    versus: _TokenName | None = None


class _Walk(TextRequest):
    layer: _Place | None = None
    head: _Place | None = None
    position: _Place | None = None
    max_tokens: Annotated[int, Field(ge=0, le=1024)] | None = None


class _Pass(TextRequest):
    layer: _Place | None = None
    head: _Place | None = None
    position: _Place | None = None


class _View(TextRequest):
    target: _TokenName | None = None
    versus: _TokenName | None = None
    labels: bool | None = None


class _Attention(TextRequest):
    layers: Places | None = None
    heads: Places | None = None


class _Heads(JobRequest):
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    period: Annotated[int, Field(ge=2, le=1024)] | None = None
    n_texts: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: _Seed | None = None


class _Neighbours(JobRequest):
    vector: _TokenName | _Numbers
    k: Annotated[int, Field(ge=1, le=1000)] | None = None
    by: Literal["cosine", "dot"] | None = None


class _Steer(TextRequest):
    towards: _Text | None = None
    away: _Text | None = None
    layer: _Place | None = None
    strength: float | None = None
    seed: _Seed | None = None
    max_tokens: Annotated[int, Field(ge=0, le=1024)] | None = None
    greedy: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


class _Prediction(TextRequest):
    position: _Place | None = None
    k: Annotated[int, Field(ge=1, le=1000)] | None = None


class _Norms(TextRequest):
    pass


class _Trace(TextRequest):
    names: _Names
    layers: Places | None = None
    heads: Places | None = None
    positions: Places | None = None


# By the path's last part, as `questions.QUESTIONS`.
REQUESTS: dict[str, type[JobRequest]] = {
    "ablate": _Ablate,
    "attention": _Attention,
    "attribute": _Attribute,
    "heads": _Heads,
    "lens": _Lens,
    "neighbours": _Neighbours,
    "norms": _Norms,
    "pass": _Pass,
    "patch": PatchRequest,
    "prediction": _Prediction,
    "steer": _Steer,
    "sweep": _Sweep,
    "trace": _Trace,
    "view": _View,
    "walk": _Walk,
    "why": _Why,
}


class TokensOfText(Body):
    """merges: also each merge that formed the pieces."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1 << 14)]
    merges: bool | None = None


class TokensOfIds(Body):
    text: Ids


class Tokens(TypedDict):
    text: str
    tokens: list[dict[str, Any]]
    words: NotRequired[list[dict[str, Any]]]


class Job(TypedDict):
    """done, total: how far it is; 0 of 0 where that is not counted. trace: by which found values
    are to be had. error: of a job that failed."""

    id: str
    object: Literal["inspect.job"]
    kind: str
    created: int
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    trace: str | None
    error: dict[str, Any] | None


class ValueInfo(TypedDict):
    name: str
    axes: list[str]
    shape: list[int]
    formula: str


class TraceInfo(TypedDict):
    """positions: those kept. values: which there are; the numbers come page by page."""

    id: str
    object: Literal["inspect.trace"]
    ids: list[int]
    tokens: list[str]
    text: str
    positions: list[int]
    heads: list[int]
    n_bytes: int
    values: list[ValueInfo]


class ValuesPage(TypedDict):
    """positions: of these rows. next: start of the page after this, or null. values: as axes says,
    null where a number is not finite."""

    object: Literal["inspect.values"]
    trace: str
    name: str
    axes: list[str]
    shape: list[int]
    positions: list[int]
    start: int
    next: int | None
    values: list[Any]


class PictureData(TypedDict):
    """What a page draws: sections of pictures, their arrays as base64; glyphs: what stands for a
    character that could not be seen."""

    title: str
    subtitle: str
    glyphs: dict[str, str]
    sections: list[dict[str, Any]]
