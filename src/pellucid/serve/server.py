"""The process: one socket, uvicorn on it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn

from ..errors import InputError
from .access import MOST_HEAD
from .observe import LOG, told
from .protocol import Phase, protocol_with

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .service import Service

__all__ = ["HttpServer", "ServerLimits", "bind", "is_public"]

_BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """grace: seconds that what is under way may take once the server is told to end. deadlines:
    see `protocol.DEADLINES`."""

    grace: float = 30.0
    deadlines: Mapping[Phase, float] = field(default_factory=dict)


class HttpServer(uvicorn.Server):
    """The first SIGTERM or SIGINT drains: no new requests, those under way go on for `grace`
    seconds. Then, or at a second signal, they are broken off. Either way the exit code is 0."""

    def __init__(self, app: ASGIApp, service: Service, limits: ServerLimits | None = None) -> None:
        self.service = service
        self.limits = limits or ServerLimits()
        self._hurry = False
        self._failure_told = False
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_with(self.limits.deadlines),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=MOST_HEAD,
                backlog=_BACKLOG,
            )
        )

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal; nothing here waits for a lock that the interrupted code may hold."""
        self._hurry = self.should_exit
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        failure = self.service.engine.failure
        if failure is not None and not self._failure_told:
            self._failure_told = True
            LOG.error("the engine failed:\n%s", told(failure))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.drain()
        breaking_off = asyncio.create_task(self._break_off())
        try:
            await super().shutdown(sockets)
        finally:
            breaking_off.cancel()
            await asyncio.to_thread(self.service.stop, 5)
            await asyncio.to_thread(self.service.close)

    async def _break_off(self) -> None:
        """Once the grace is over: every text ends, its client is told, the connections close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.grace):
                while not self._hurry:
                    await asyncio.sleep(0.05)
        await asyncio.to_thread(self.service.stop, 2)
        await asyncio.sleep(0.2)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free.

    Raises InputError where that cannot be.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{host!r} is no address of this machine: {_why(error)}; --host 127.0.0.1 is this "
            "machine alone"
        ) from error
    server = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # there, and only there: of a server that has just ended
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        raise InputError(
            f"cannot listen on port {port} of {host}: {_why(error)}; choose another with --port"
        ) from error
    return server


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def is_public(server: socket.socket) -> bool:
    """Whether others than this machine reach it."""
    return not ipaddress.ip_address(server.getsockname()[0].partition("%")[0]).is_loopback
