"""Errors in OpenAI's form."""

from __future__ import annotations

from typing_extensions import TypedDict

__all__ = ["Error", "ErrorBody"]


class Error(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    error: Error
