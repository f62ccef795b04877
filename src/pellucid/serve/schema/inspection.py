"""What /v1/inspect is asked, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from .declared import (
    MOST_PLACES,
    InterventionRequest,
    Messages,
    MessagesText,
    Names,
    Numbers,
    Place,
    Places,
    ReplyPlace,
    ReplyText,
    Text,
)
from .fields import Body, Ids

__all__ = [
    "REQUESTS",
    "CompareRequest",
    "Job",
    "JobRequest",
    "PatchRequest",
    "PictureData",
    "TextRequest",
    "Tokens",
    "TokensOfIds",
    "TokensOfText",
    "TraceInfo",
    "ValueInfo",
    "ValuesPage",
]

_Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
_TokenName = Annotated[str, StringConstraints(min_length=1, max_length=200)] | Place


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

    text: Text | Ids | SkipJsonSchema[None] = None
    messages: Messages | SkipJsonSchema[None] = None
    reply: ReplyPlace | SkipJsonSchema[None] = None


class _Lens(TextRequest):
    target: _TokenName | None = None
    positions: Places | None = None
    k: Annotated[int, Field(ge=1, le=100)] | None = None


class _Attribute(TextRequest):
    target: _TokenName | None = None
    versus: _TokenName | None = None
    position: Place | None = None


class _Why(TextRequest):
    continuation: Text | Ids | None = None
    token: Place | None = None
    labels: bool | None = None


_How = Literal["zero", "mean", "resample"]


class _Ablation(TextRequest):
    how: _How | None = None
    reference: Text | Ids | None = None
    target: _TokenName | None = None
    position: Place | None = None
    seed: _Seed | None = None


class _Ablate(_Ablation):
    heads: (
        Annotated[
            list[Annotated[list[Place], Field(min_length=2, max_length=2)]],
            Field(max_length=MOST_PLACES),
        ]
        | None
    ) = None
    mlps: Annotated[list[Place], Field(max_length=MOST_PLACES)] | None = None
    positions: Annotated[list[Place], Field(max_length=MOST_PLACES)] | None = None


class _Sweep(_Ablation):
    over: Literal["heads", "mlps", "positions"] | None = None


class PatchRequest(JobRequest):
    """source, base: two texts of as many tokens."""

    source: Text | Ids | MessagesText | ReplyText
    base: Text | Ids | MessagesText | ReplyText
    over: Literal["positions", "heads"] | None = None
    target: _TokenName | None = None
    versus: _TokenName | None = None


class _Walk(TextRequest):
    layer: Place | None = None
    head: Place | None = None
    position: Place | None = None
    max_tokens: Annotated[int, Field(ge=0, le=1024)] | None = None


class _Pass(TextRequest):
    layer: Place | None = None
    head: Place | None = None
    position: Place | None = None


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
    vector: _TokenName | Numbers
    k: Annotated[int, Field(ge=1, le=1000)] | None = None
    by: Literal["cosine", "dot"] | None = None


class _Generated(TextRequest):
    seed: _Seed | None = None
    max_tokens: Annotated[int, Field(ge=0, le=1024)] | None = None
    greedy: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


class _Steer(_Generated):
    towards: Text | None = None
    away: Text | None = None
    layer: Place | None = None
    strength: float | None = None


class CompareRequest(_Generated):
    interventions: Annotated[list[InterventionRequest], Field(max_length=64)]


class _Prediction(TextRequest):
    position: Place | None = None
    k: Annotated[int, Field(ge=1, le=1000)] | None = None


class _Norms(TextRequest):
    pass


class _Trace(TextRequest):
    names: Names
    layers: Places | None = None
    heads: Places | None = None
    positions: Places | None = None


# By the path's last part, as `questions.QUESTIONS`.
REQUESTS: dict[str, type[JobRequest]] = {
    "ablate": _Ablate,
    "attention": _Attention,
    "attribute": _Attribute,
    "compare": CompareRequest,
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
    """ahead: as long as it is queued, jobs that come before it, the one that runs among them. done,
    total: how far it is; 0 of 0 where that is not counted. trace: by which found values
    are to be had. error: of a job that failed."""

    id: str
    object: Literal["inspect.job"]
    kind: str
    created: int
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    ahead: int
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
