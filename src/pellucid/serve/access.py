"""Who may ask: by the names this server answers to, where a page comes from, and a key.

A browser on this machine runs the pages of strangers. They cannot read answers without CORS, but
they could send; so a request that names another host (DNS rebinding) or comes from another origin
is refused. (A body that a form could send is no JSON: `routing`.)
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import InputError
from .answers import Json
from .errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "MOST_HEAD", "Access", "Gate", "checked_origins"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MOST_HEAD = 16_384  # bytes of a request's line and headers
_HEALTH = frozenset({"/health"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """keys: one of them is to be shown; () asks for none. hosts: names that this server answers
    to. any_address: also to every address, which no stranger's name can stand for. origins: whose
    pages may ask, such as https://chat.example."""

    keys: tuple[str, ...] = ()
    hosts: frozenset[str] = LOOPBACK
    any_address: bool = False
    origins: frozenset[str] = frozenset()


def checked_origins(origins: Collection[str]) -> frozenset[str]:
    """As browsers send them. Raises InputError for what is no page's origin."""
    for origin in origins:
        if origin.rstrip("/").count("/") != 2:
            raise InputError(f"--allow-origin {origin}: write it as https://chat.example")
    return frozenset(origin.rstrip("/") for origin in origins)


class Gate:
    """open_to_all: paths that need no key, spelled just so, beside /health: nobody's data."""

    def __init__(
        self, app: ASGIApp, access: Access, *, open_to_all: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._open = _HEALTH | open_to_all
        self._access = access
        self._keys = tuple(key.encode() for key in access.keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        shared = origin is not None and origin in self._access.origins

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start" and self._access.origins:
                own = [(b"vary", b"origin")]
                if shared and origin is not None:
                    own.append((b"access-control-allow-origin", origin.encode("latin-1")))
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        try:
            _check_size(scope)
            self._check_host(headers.get(b"host", ""))
            if origin is not None and not shared:
                self._check_origin(origin, headers.get(b"host", ""))
            if shared and scope["method"] == "OPTIONS":
                await Json(None, status_code=200, headers=_PREFLIGHT)(scope, receive, marked)
                return
            # The path as it was sent too: /%68ealth is another spelling.
            if scope["path"] not in self._open or scope["raw_path"].decode() not in self._open:
                self._check_key(headers.get(b"authorization", ""))
        except ApiError as error:
            refusal = Json(error.body, status_code=error.status, headers=error.headers)
            await refusal(scope, receive, marked)
            return
        await self._app(scope, receive, marked)

    def _check_host(self, host: str) -> None:
        name = _name(host)
        if name in self._access.hosts or (self._access.any_address and _is_address(name)):
            return
        raise ApiError(
            403,
            f"this server does not answer to the name {name!r}; --allow-host lets it",
            code="host_not_allowed",
        )

    @staticmethod
    def _check_origin(origin: str, host: str) -> None:
        """A page of this server's own may ask."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
            raise ApiError(
                403,
                f"pages from {origin!r} may not ask this server; --allow-origin lets them",
                code="origin_not_allowed",
            )

    def _check_key(self, authorization: str) -> None:
        if not self._keys:
            return
        scheme, _, shown = authorization.partition(" ")
        given = shown.strip().encode("latin-1")
        # All are compared, each in the time that its length takes.
        fits = [hmac.compare_digest(given, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(fits):
            raise ApiError(
                401,
                "this server asks for an API key: send it as Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )


_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}


def _check_size(scope: Scope) -> None:
    """h11 counts only what has not come whole."""
    n = len(scope["raw_path"]) + len(scope["query_string"])
    if n + sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEAD:
        message = f"a request's line and headers are at most {MOST_HEAD} bytes"
        raise ApiError(431, message, code="headers_too_large", headers={"connection": "close"})


def _name(host: str) -> str:
    """Of a Host header, without its port: "[::1]:8000" -> "::1"."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
