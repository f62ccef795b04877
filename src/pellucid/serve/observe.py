"""One line in the log for each request, and its counts; what nobody foresaw becomes a 500."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ..visible import harmless, on_one_line
from .answers import Json
from .errors import of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .metrics import Metrics

__all__ = ["LEFT", "LOG", "Observe", "told"]

LOG = logging.getLogger("pellucid.serve")
LEFT = 499  # in logs and counts: the client left before its answer began (nginx's number)


class Observe:
    """The outermost of all."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            LOG.error("%s", told(error))
            if not status:
                failure = of(error)
                await Json(failure.body, status_code=failure.status)(scope, receive, watched)
        finally:
            self._metrics.in_flight.dec()
            seconds = time.perf_counter() - begin
            self._metrics.answered(_route(scope), status or LEFT, seconds)
            client = scope["client"][0] if scope.get("client") else "-"
            LOG.info(
                "%s %s %s %d %.3fs",
                client,
                scope["method"],
                on_one_line(scope["path"])[:200],
                status or LEFT,
                seconds,
            )


def _route(scope: Scope) -> str:
    """As it is declared; a path of the client's own is no label."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "none"))


def told(error: BaseException) -> str:
    """For the log, which obeys nothing that stands in it."""
    import traceback

    return harmless("".join(traceback.format_exception(error)).rstrip())
