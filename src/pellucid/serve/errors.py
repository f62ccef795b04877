"""Every error as OpenAI's clients know it: a status, and message, type, param, code."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ContextError, InputError, PellucidError, StoreError, TokenizerError
from ..inspect import OverBudget
from ..visible import on_one_line
from .events import Busy, Stopped
from .kept import Missing
from .schema.errors import ErrorBody

__all__ = ["ApiError", "invalid_body", "of"]

_LONGEST = 500  # characters of a message
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# pydantic's kinds of errors, by OpenAI's codes; others are an invalid_value
_CODES = {
    "extra_forbidden": "unknown_parameter",
    "missing": "missing_required_parameter",
    "unsupported_value": "unsupported_value",
}


class ApiError(PellucidError):
    """status: of HTTP. param: which field of the request. code: for programs. headers: beside."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> ErrorBody:
        message = on_one_line(str(self))
        if len(message) > _LONGEST:
            message = message[: _LONGEST - 1] + "…"
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = _TYPES.get(self.status, kind)
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}


def of(error: Exception, param: str | None = None) -> ApiError:
    """What the client is told of an error; of one that nobody foresaw, nothing but that."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Busy):
        seconds = str(max(1, math.ceil(error.retry_after)))
        headers = {"retry-after": seconds}
        return ApiError(429, str(error), code="overloaded", headers=headers)
    if isinstance(error, Stopped):
        return ApiError(503, str(error), code="unavailable")
    if isinstance(error, Missing):
        return ApiError(404, str(error), code="not_found")
    if isinstance(error, StoreError):
        full = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        status, code = (507, "store_full") if full else (503, "store_unavailable")
        return ApiError(status, str(error), code=code)
    if isinstance(error, OverBudget):
        return ApiError(413, error.what, code="over_budget", param=param)
    if isinstance(error, ContextError):
        return ApiError(400, str(error), code="context_length_exceeded", param=param)
    if isinstance(error, InputError | TokenizerError):
        return ApiError(400, str(error), code="invalid_value", param=param)
    return ApiError(500, "the server failed; its log says how", code="internal_error")


def invalid_body(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What pydantic found in a request."""
    first = errors[0]
    param = _param(first["loc"])
    # Of a field that may be one of several things: why it is none of them.
    reasons = dict.fromkeys(
        str(e["msg"]) for e in errors if _field(e["loc"]) == _field(first["loc"])
    )
    message = "; or ".join(list(reasons)[:4])
    code = _CODES.get(first["type"], "invalid_value")
    if code == "unknown_parameter":
        message = "there is no such field"
    return ApiError(400, f"{param}: {message}" if param else message, code=code, param=param)


def _field(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """Of a place in a request, the field at its top."""
    return tuple(location[1:2])


def _param(location: Sequence[str | int]) -> str | None:
    """("body", "messages", 0, "content", "str") -> "messages[0].content"; pydantic's own words for
    a member of a union end it."""
    path = ""
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in ("str", "int", "float", "bool"):
            path += f".{part}" if path else part
        else:
            break
    return path or None
