"""The ASGI application: what is asked of everyone, then the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from ..errors import PellucidError
from .access import Access, Gate
from .answers import Json
from .bodies import Bodies
from .errors import ApiError, invalid_body, of
from .observe import LEFT, Observe
from .routes import (
    chat,
    completions,
    conversations,
    dialogue,
    history,
    inspection,
    models,
    page,
    responses,
    tokens,
)
from .runs import Gone

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .service import Service

__all__ = ["new_app"]

_ABOUT = """OpenAI's API for one model that runs here: completions, chat, responses. Errors come
as OpenAI's clients know them; a field that is not known, or that would have no effect on what is
generated though it asks for one, is refused. The field "pellucid" of a completion, and /v1/inspect,
show what the model computed, and change it. /v1/conversations keeps what is said."""


def new_app(service: Service, access: Access) -> ASGIApp:
    """Everything outside the routes is plain ASGI: streams pass through it as they are."""
    api = FastAPI(
        title="Pellucid",
        description=_ABOUT,
        version="1",
        docs_url=None,  # its pages would be fetched from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    groups = (
        models,
        completions,
        chat,
        responses,
        conversations,
        dialogue,
        tokens,
        inspection,
        history,
        page,
    )
    for group in groups:
        # `include_router` would build each of them again, and in a newer FastAPI not before a
        # request gets as far: half a second in which no stream goes on.
        api.router.routes.extend(group.router(service).routes)
    for kind, answer in _ANSWERS.items():
        api.add_exception_handler(kind, answer)
    _tell_the_truth(api, service)
    return Observe(Bodies(Gate(api, access, open_to_all=page.PATHS)), service.metrics)


async def _failed(request: Request, error: Exception) -> Response:
    known = of(error)
    return Json(known.body, status_code=known.status, headers=known.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _failed(request, invalid_body(error.errors()))


async def _routeless(request: Request, error: Exception) -> Response:
    """Paths and methods that are not there."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message, code = {
        404: (f"there is nothing at {what}; /openapi.json lists what there is", "unknown_url"),
        405: (f"{what}: this path takes another method", "method_not_allowed"),
    }.get(error.status_code, (str(error.detail), "invalid_value"))
    headers = error.headers
    if error.status_code == 405:  # several routes may share a path, each with a method of its own
        headers = {"allow": ", ".join(_methods(request))}
    return await _failed(request, ApiError(error.status_code, message, code=code, headers=headers))


def _methods(request: Request) -> list[str]:
    """That the request's path takes."""
    routes: list[Route] = request.app.routes
    fitting = (route for route in routes if route.matches(request.scope)[0] != Match.NONE)
    return sorted({method for route in fitting for method in route.methods or ()})


async def _left(request: Request, error: Exception) -> Response:
    """Nobody reads it; the log and the counts do."""
    return Response(status_code=LEFT)


_ANSWERS: dict[type[Exception], Any] = {
    Gone: _left,
    PellucidError: _failed,
    RequestValidationError: _invalid,
    HTTPException: _routeless,
}


def _tell_the_truth(api: FastAPI, service: Service) -> None:
    """In the OpenAPI document: this model's name and tokens, and no 422, which never comes."""
    plain = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = plain()
            for path in document["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document.get("components", {}).get("schemas", {}).pop(name, None)
            _name_the_model(document, service)
        return api.openapi_schema or {}

    api.openapi = openapi  # type: ignore[method-assign]


def _name_the_model(node: Any, service: Service) -> None:
    if isinstance(node, dict):
        if node.pop("x-token", None):
            node["maximum"] = service.gpt.hparams.n_vocab - 1
        if node.pop("x-model", None):
            node["enum"] = [service.model]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            _name_the_model(each, service)
