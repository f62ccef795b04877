"""/v1/completions: a text goes on."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from .declared import Inspection, WithWatched
from .fields import (
    MOST_CHOICES,
    MOST_PROMPTS,
    NOT_BUILT,
    Ids,
    Refused,
    Sampled,
    StreamOptions,
    Tokens,
    rule,
)

__all__ = [
    "Choice",
    "Completion",
    "CompletionRequest",
    "FinishReason",
    "Logprobs",
    "Prompt",
    "PromptDetails",
    "Usage",
    "WithIds",
]

FinishReason = Literal["stop", "length"]
Prompt = (
    str
    | Ids
    | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MOST_PROMPTS)]
    | Annotated[list[Ids], Field(fail_fast=True, min_length=1, max_length=MOST_PROMPTS)]
)


class CompletionRequest(Sampled):
    """echo: the prompt stands before what is generated; with logprobs, with its own. logprobs: so
    many of the likeliest tokens in each place, beside the one that is there. return_token_ids: with
    the ids of all of them and of a choice's own, the one that ended it too. best_of: n, or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                rule({"best_of": {"const": n}}, {"n": {"const": n}})
                for n in range(1, MOST_CHOICES + 1)
            ]
        }
    )

    prompt: Prompt
    max_tokens: Tokens | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    return_token_ids: bool | None = None
    stream_options: StreamOptions | None = None
    pellucid: Inspection | None = None
    suffix: Annotated[
        None, Refused("this model cannot fill in: it reads only what stands before")
    ] = None
    response_format: Annotated[None, NOT_BUILT] = None


class Logprobs(TypedDict):
    """tokens: as text; one whose bytes are no text by themselves as "bytes:\\xe2\\x80".
    text_offset: where each begins in `text`, in characters. top_token_ids: of the likeliest."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    top_token_ids: NotRequired[list[list[int] | None]]


class WithIds(TypedDict):
    """What a choice has beside, where its request asked for it."""

    token_ids: NotRequired[list[int]]


class Choice(WithWatched, WithIds):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class PromptDetails(TypedDict):
    """cached_tokens: of the prompt, not computed anew."""

    cached_tokens: int


class Usage(TypedDict):
    """completion_tokens: all that were generated, also the one that ended a text."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Completion(TypedDict):
    """Whole, or a part of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: NotRequired[Usage | None]
