"""/v1/responses: OpenAI's newer form of a conversation, as far as it is text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from .chat import TextFormat, Truncation
from .fields import (
    NO_TOOLS,
    NOT_BUILT,
    Body,
    Metadata,
    ModelName,
    NoInspection,
    Refused,
    Share,
)
from .messages import Role

__all__ = ["Content", "InputItem", "Item", "Response", "ResponseRequest", "ResponseUsage"]

_STATELESS = Refused("this server keeps no responses: send the conversation as input")


class InputText(Body):
    """What a response held when this server gave it may come back as it was."""

    type: Literal["input_text", "output_text"]
    text: str
    annotations: Annotated[None, NO_TOOLS] = None
    logprobs: Annotated[None, NOT_BUILT] = None


class InputItem(Body):
    role: Role
    content: str | Annotated[list[InputText], Field(min_length=1)]
    type: Literal["message"] | None = None
    id: str | None = None
    status: Literal["in_progress", "completed", "incomplete"] | None = None
    phase: str | None = None


class TextSettings(Body):
    format: TextFormat | None = None
    verbosity: Annotated[None, NOT_BUILT] = None


class ResponseRequest(Body):
    """instructions: stand before the input, as system text. The fields of sampling are those of
    /v1/chat/completions."""

    model: ModelName | None = None
    input: str | Annotated[list[InputItem], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Share | None = None
    stream: bool | None = None
    truncation: Truncation | None = None
    text: TextSettings | None = None
    metadata: Metadata | None = None
    pellucid: NoInspection = None
    # Without effect here; nothing is stored.
    store: bool | None = None
    user: str | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: Literal["none", "auto"] | Annotated[None, NO_TOOLS] = None
    # Refused.
    tools: Annotated[None, NO_TOOLS] = None
    max_tool_calls: Annotated[None, NO_TOOLS] = None
    previous_response_id: Annotated[None, _STATELESS] = None
    conversation: Annotated[None, _STATELESS] = None
    background: Annotated[None, NOT_BUILT] = None
    include: Annotated[None, NOT_BUILT] = None
    reasoning: Annotated[None, NOT_BUILT] = None
    top_logprobs: Annotated[None, NOT_BUILT] = None
    prompt: Annotated[None, NOT_BUILT] = None
    stream_options: Annotated[None, NOT_BUILT] = None


class Content(TypedDict):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class Item(TypedDict):
    type: Literal["message"]
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[Content]


class InputDetails(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(TypedDict):
    reasoning_tokens: int


class ResponseUsage(TypedDict):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(TypedDict):
    reason: Literal["max_output_tokens"]


class Response(TypedDict):
    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete"]
    error: None
    incomplete_details: Incomplete | None
    instructions: str | None
    max_output_tokens: int | None
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: None
    store: bool
    temperature: float | None
    text: dict[str, dict[str, str]]
    tool_choice: Literal["none"]
    tools: list[Any]
    top_p: float | None
    truncation: Truncation
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]
