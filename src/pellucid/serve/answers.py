"""Answers: JSON, whole, or as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from . import errors
from .runs import Gone, unless_gone

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["DONE", "EventStream", "Json", "ahead", "data", "event", "to_json"]

KEEP_ALIVE = 15.0  # seconds of silence after which a comment says that the stream lives
DONE = b"data: [DONE]\n\n"


def to_json(value: Any) -> bytes:
    """Raises UnicodeEncodeError for half a surrogate pair."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def data(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def event(value: Mapping[str, Any]) -> bytes:
    """With its type as the event's name."""
    return b"event: " + str(value["type"]).encode() + b"\n" + data(value)


def ahead(n: int) -> bytes:
    """A comment, which clients pass over: how many requests a text waits for."""
    return f": {n} ahead\n\n".encode()


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content)


class EventStream(Response):
    """parts: what is sent, each a whole event or several. close: called at the end, whatever it is.
    failed: an error as an event; it is the last one."""

    media_type = "text/event-stream"

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        close: Callable[[], None],
        failed: Callable[[errors.ApiError], bytes] = lambda error: data(error.body),
    ) -> None:
        super().__init__(
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
            media_type=f"{self.media_type}; charset=utf-8",
        )
        del self.headers["content-length"]
        self._parts = parts
        self._close = close
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(begin)
            await unless_gone(receive, self._send(send))
        except Gone:
            pass
        finally:
            self._close()

    async def _send(self, send: Send) -> None:
        async def push(part: bytes, *, more: bool = True) -> None:
            self._sent = True
            await send({"type": "http.response.body", "body": part, "more_body": more})

        living = asyncio.create_task(self._live(push))
        try:
            async for part in self._parts:
                await push(part)
        except Exception as error:
            await push(self._failed(errors.of(error)))
            if errors.of(error).status == 500:
                raise
        finally:
            living.cancel()
        await push(b"", more=False)

    async def _live(self, push: Callable[[bytes], Any]) -> None:
        while True:
            self._sent = False
            await asyncio.sleep(KEEP_ALIVE)
            if not self._sent:
                await push(b": still at work\n\n")
