"""The fields that several requests share, and what OpenAI's clients may send without effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = [
    "MOST_CHOICES",
    "MOST_PROMPTS",
    "NOT_BUILT",
    "NO_IMAGES",
    "NO_SCHEMA",
    "NO_TOOLS",
    "Body",
    "Ids",
    "Metadata",
    "ModelName",
    "NoInspection",
    "Penalty",
    "Refused",
    "Sampled",
    "Share",
    "Stop",
    "StreamOptions",
    "TokenId",
    "Tokens",
    "rule",
]

MOST_CHOICES = 8
MOST_PROMPTS = 128
_MOST_TOKENS = 2**31 - 1
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})


@dataclass(frozen=True, slots=True)
class Refused:
    """A field of OpenAI's that means nothing here: null, or empty, and an error that says why."""

    why: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def check(value: Any) -> None:
            if not any(type(value) is type(empty) and value == empty for empty in _EMPTY):
                raise PydanticCustomError("unsupported_value", "{why}", {"why": self.why})

        return core_schema.no_info_plain_validator_function(check)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"enum": list(_EMPTY), "description": f"Refused unless empty: {self.why}"}


NO_TOOLS = Refused("this model calls no tools")
NO_SCHEMA = Refused("the form of a reply cannot be prescribed here; only text is generated")
NO_IMAGES = Refused("this model reads and writes text only")
NOT_BUILT = Refused("this server does not have it")
NoInspection = Annotated[None, Refused("ask /v1/chat/completions or /v1/completions for that")]

TokenId = Annotated[int, Field(ge=0, json_schema_extra={"x-token": True})]
Ids = Annotated[list[TokenId], Field(fail_fast=True, min_length=1)]
ModelName = Annotated[str, Field(json_schema_extra={"x-model": True})]
_StopText = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Stop = _StopText | Annotated[list[_StopText], Field(max_length=4)]
Tokens = Annotated[int, Field(ge=0, le=_MOST_TOKENS)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Metadata = Annotated[dict[str, str], Field(max_length=16)]


class Body(BaseModel):
    """What is not known is refused: a setting passed over in silence would give other numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def rule(when: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """For the OpenAPI document: fields with these schemas ask for those of others."""
    return {
        "if": {"properties": when, "required": list(when)},
        "then": {"properties": then, "required": list(then)},
    }


class StreamOptions(Body):
    """include_usage: a last chunk with the counts of tokens, and null in those before."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampled(Body):
    """How tokens are chosen. What is not said is what the model's card recommends, else OpenAI's
    own default. top_k, min_p, repetition_penalty and stop_token_ids are this server's more."""

    model: ModelName | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=1, le=_MOST_TOKENS)] | None = None
    min_p: Share | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | None = None
    stop_token_ids: Annotated[list[TokenId], Field(fail_fast=True, max_length=64)] | None = None
    stream: bool | None = None
    # Without effect here.
    user: str | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    # Refused.
    logit_bias: Annotated[None, NOT_BUILT] = None
    tools: Annotated[None, NO_TOOLS] = None
