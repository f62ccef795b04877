"""/v1/chat/completions: a conversation goes on."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from .completions import FinishReason, Usage
from .declared import Inspection, WithWatched
from .fields import (
    MOST_CHOICES,
    NO_IMAGES,
    NO_SCHEMA,
    NO_TOOLS,
    NOT_BUILT,
    Body,
    Sampled,
    StreamOptions,
    rule,
)
from .messages import Message

__all__ = [
    "ChatChoice",
    "ChatChunk",
    "ChatChunkChoice",
    "ChatCompletion",
    "ChatLogprobs",
    "ChatRequest",
    "ChatToken",
    "Delta",
    "LikelyToken",
    "Reply",
    "TextFormat",
    "Truncation",
]

Truncation = Literal["auto", "disabled"]
_Length = Annotated[int, Field(ge=1, le=2**31 - 1)]


class TextFormat(Body):
    type: Literal["text"]


class ChatRequest(Sampled):
    """truncation: "auto" leaves out the oldest turns where the window is full; "disabled", as where
    nothing is said, makes that an error. logprobs: with each token; top_logprobs, which needs it:
    so many of the likeliest in its place."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                rule({"top_logprobs": {"type": "integer"}}, {"logprobs": {"const": True}}),
                rule(
                    {"max_tokens": {"type": "integer"}, "max_completion_tokens": {}},
                    {"max_completion_tokens": {"type": "null"}},
                ),
            ]
        }
    )

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: _Length | None = None
    max_completion_tokens: _Length | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream_options: StreamOptions | None = None
    truncation: Truncation | None = None
    pellucid: Inspection | None = None
    response_format: TextFormat | Annotated[None, NO_SCHEMA] = None
    modalities: list[Literal["text"]] | None = None
    parallel_tool_calls: bool | None = None  # without effect
    tool_choice: Literal["none", "auto"] | Annotated[None, NO_TOOLS] = None
    functions: Annotated[None, NO_TOOLS] = None
    function_call: Annotated[None, NO_TOOLS] = None
    audio: Annotated[None, NO_IMAGES] = None
    prediction: Annotated[None, NOT_BUILT] = None
    reasoning_effort: Annotated[None, NOT_BUILT] = None
    verbosity: Annotated[None, NOT_BUILT] = None
    web_search_options: Annotated[None, NOT_BUILT] = None


class LikelyToken(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class ChatToken(LikelyToken):
    top_logprobs: list[LikelyToken]


class ChatLogprobs(TypedDict):
    content: list[ChatToken]
    refusal: None


class Reply(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(WithWatched):
    index: int
    message: Reply
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class Delta(TypedDict):
    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]


class ChatChunkChoice(WithWatched):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatChunk(TypedDict):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: NotRequired[Usage | None]
