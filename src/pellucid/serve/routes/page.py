"""/ and /page/…: the page, as files of web/ that a browser loads as they stand. They say nothing of
the model or of anyone, and need no key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ... import web
from ...gpt import load
from ...inspect import first_walk
from ..answers import to_json
from ..routing import new_router
from ..service import Service

__all__ = ["HEADERS", "PATHS", "router"]

_KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
_INDEX, _START = "app/index.html", "/page/start.json"
# Places of the page that stand in folders of their own, each where its module is there.
_PLACES = ("talk/talk.js", "learn/learn.js", "change/change.js")
# Scripts and styles are files of this server alone; nothing is fetched from, sent to, or framed by
# anyone else.
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def _paths() -> dict[str, str]:
    """Path -> file of web/: whatever else is asked for is not there."""
    names = [name for name in web.names() if name.rpartition(".")[2] in _KINDS]
    return {"/": _INDEX} | {f"/page/{name}": name for name in names if name != _INDEX}


_FILES = _paths()
PATHS: frozenset[str] = frozenset({*_FILES, _START})


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, body: bytes, kind: str) -> _File:
        return cls(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@cache
def _file(name: str) -> _File:
    return _File.of(web.text(name).encode("utf-8"), _KINDS[name.rpartition(".")[2]])


@cache
def _start(*, store: bool) -> _File:
    """The walk that the page begins with, on the model `talk`, which the browser runs. store:
    whether conversations are kept here."""
    places = [name for name in _PLACES if name in web.names()]
    known = first_walk(load("talk")) | {"places": places, "store": store}
    return _File.of(to_json(known), "application/json")


def router(service: Service) -> APIRouter:
    routes = new_router()

    def add(path: str, read: Callable[[], _File]) -> None:
        def answer(request: Request) -> Response:
            file = read()
            headers = {**HEADERS, "etag": file.tag}
            if file.tag in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            body = b"" if request.method == "HEAD" else file.body
            headers["content-length"] = str(len(file.body))
            return Response(body, headers=headers, media_type=file.kind)

        routes.add_api_route(path, answer, methods=["GET", "HEAD"], include_in_schema=False)

    for path, name in _FILES.items():
        add(path, lambda name=name: _file(name))  # type: ignore[misc]
    add(_START, lambda: _start(store=not service.archive.off))
    return routes
