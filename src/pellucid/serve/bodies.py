"""Bodies of requests: no longer than they may be, and none left unread on the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MOST_BYTES", "Bodies"]

MOST_BYTES = 1 << 20
_LINGER = 1.0  # seconds, and
_SWALLOWED = 1 << 20  # bytes, for which a body is read on after it was refused


class Bodies:
    """most: bytes. What is longer is refused where it is declared, else where it is reached, and
    never held. An answer that comes before the body's end closes the connection, after the client
    had a moment to read it: closed at once, its own writing would fail first.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = int(headers.get(b"content-length", b"0"))
        read, whole = 0, declared == 0 and b"transfer-encoding" not in headers

        async def bounded() -> Message:
            nonlocal read, whole
            if declared > self._most:
                raise self._too_long()
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if read > self._most:
                    raise self._too_long()
            return message

        async def closing(message: Message) -> None:
            nonlocal whole
            if whole:
                await send(message)
            elif message["type"] == "http.response.start":
                await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
            else:
                await send({**message, "more_body": True})
                if not message.get("more_body", False):
                    await _swallow(receive)
                    await send({"type": "http.response.body", "body": b""})

        await self._app(scope, bounded, closing)

    def _too_long(self) -> ApiError:
        message = f"the body is longer than {self._most} bytes"
        return ApiError(413, message, code="request_too_large")


async def _swallow(receive: Receive) -> None:
    read = 0
    try:
        async with asyncio.timeout(_LINGER):
            while read < _SWALLOWED:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                read += len(message.get("body", b""))
    except TimeoutError:
        pass
