"""HTTP/1.1 with deadlines: uvicorn's own protocol waits for ever for what a client owes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .answers import to_json
from .errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEADLINES", "Phase", "protocol_with"]

Phase = Literal["head", "body", "write"]
# Seconds: from a request's first byte to the end of its head; from there to the end of its body;
# while a client reads nothing of what lies ready for it.
DEADLINES: Mapping[Phase, float] = {"head": 10.0, "body": 60.0, "write": 30.0}


class _Timed(H11Protocol):
    deadlines: Mapping[Phase, float] = DEADLINES

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._owed: Phase | None = None  # what the client owes
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect("head")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self._stop_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.deadlines["write"], self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """In OpenAI's form, as every other error."""
        error = ApiError(400, "this is no HTTP request", code="invalid_http")
        body = to_json(error.body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        try:
            parts = [
                self.conn.send(h11.Response(status_code=400, headers=headers)),
                self.conn.send(h11.Data(data=body)),
                self.conn.send(h11.EndOfMessage()),
            ]
            self.transport.write(b"".join(part for part in parts if part))
        except h11.LocalProtocolError:  # an answer is under way: what follows it is cut off
            pass
        self.transport.close()

    def _look(self) -> None:
        """What the client owes now."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._expect("body")
        elif state is h11.IDLE and (self.conn.trailing_data[0] or self._owed == "head"):
            self._expect("head")
        else:
            self._expect(None)

    def _expect(self, owed: Phase | None) -> None:
        if owed == self._owed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owed = owed
        if owed is not None:
            self._timer = self.loop.call_later(self.deadlines[owed], self.transport.abort)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def protocol_with(deadlines: Mapping[Phase, float]) -> type[asyncio.Protocol]:
    """For uvicorn's `http`."""
    return type("Timed", (_Timed,), {"deadlines": {**DEADLINES, **deadlines}})
