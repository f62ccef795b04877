"""How every route reads its body, and stops when its client leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .answers import to_json
from .errors import ApiError
from .runs import Gone, unless_gone
from .schema.errors import ErrorBody

__all__ = ["STREAM", "Route", "failures", "new_router"]

# Of a route that can answer by a stream, beside JSON.
STREAM: dict[str, Any] = {
    "text/event-stream": {
        "itemSchema": {
            "type": "object",
            "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
            "required": ["data"],
        }
    }
}
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a character, unless its other follows
_WHY = {
    400: "The request is wrong.",
    401: "The API key is missing or wrong.",
    403: "The host or origin is not one that this server answers to.",
    404: "There is no such model, or no such thing here.",
    409: "The job was cancelled or has failed, or the conversation is another model's.",
    413: "The body, or what is asked for, is too large.",
    415: "The body is not JSON.",
    431: "The request's line and headers are too long.",
    429: "Too many requests wait; Retry-After says for how many seconds to stay away.",
    500: "The server failed.",
    503: "The server takes no more requests, or its store of conversations cannot be used.",
    507: "The disk on which conversations are kept is full.",
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`."""
    return {status: {"model": ErrorBody, "description": _WHY[status]} for status in statuses}


class _Read(Request):
    """Its body is parsed already."""

    parsed: Any = None

    async def json(self) -> Any:
        return self.parsed


class Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request = _Read(request.scope, request.receive)
            if self.body_field is not None:
                _check_type(request.headers.get("content-type", ""))
            try:
                body = await request.body()
            except ClientDisconnect as error:
                raise Gone from error
            if body and self.body_field is not None:
                request.parsed = _strict_json(body)
            return await unless_gone(request.receive, handler(request))

        return handle


def new_router() -> APIRouter:
    return APIRouter(route_class=Route, responses=failures(431))


def _check_type(content_type: str) -> None:
    """Other types a page may send anywhere without asking."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(
            415,
            "the body must be JSON, with the header Content-Type: application/json",
            code="unsupported_media_type",
        )


def _strict_json(body: bytes) -> Any:
    """JSON that everyone reads alike."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_float=_number,
            parse_constant=_constant,
            object_pairs_hook=_once,
        )
        if _SURROGATE.search(body):
            to_json(value)
        return value
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise _unreadable(f"the body is not Unicode text in UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise _unreadable("the body is nested too deeply") from error
    except ValueError as error:  # JSON's own, and numbers of more digits than Python reads
        raise _unreadable(f"the body is not JSON: {error}") from error


def _number(text: str) -> float | int:
    """5.0 is a whole number to JSON's schemas."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _unreadable(message: str) -> ApiError:
    return ApiError(400, message, code="invalid_json")
