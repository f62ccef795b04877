"""The messages of a conversation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .fields import NO_IMAGES, NO_TOOLS, Body

__all__ = ["Message", "Role", "TextPart"]

Role = Literal["system", "developer", "user", "assistant"]


class TextPart(Body):
    type: Literal["text"]
    text: str


class Message(Body):
    """What a reply held when this server gave it may come back as it was."""

    role: Role
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None
    refusal: str | None = None
    annotations: Annotated[None, NO_TOOLS] = None
    audio: Annotated[None, NO_IMAGES] = None
    function_call: Annotated[None, NO_TOOLS] = None
    tool_calls: Annotated[None, NO_TOOLS] = None
