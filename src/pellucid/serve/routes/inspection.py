"""/v1/inspect: questions as jobs, and the values of traces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from ..answers import EventStream, Json, event
from ..declared import arguments, ids_of, interventions_of, read, text_of
from ..errors import ApiError, of
from ..forms import page_of, picture_data, result, tokens, trace_bytes, trace_info
from ..inquiries import Inquiry
from ..questions import QUESTIONS
from ..routing import STREAM, failures, new_router
from ..schema.declared import MessagesText, ReplyText
from ..schema.inspection import (
    REQUESTS,
    CompareRequest,
    Job,
    JobRequest,
    PatchRequest,
    PictureData,
    TextRequest,
    Tokens,
    TokensOfIds,
    TokensOfText,
    TraceInfo,
    ValuesPage,
)
from ..service import Service

__all__ = ["router"]

_OFTEN = 0.1  # seconds between two events of a job
# Read apart from the other fields.
_APART = frozenset({"text", "messages", "reply", "source", "base", "interventions"})
_SAFETENSORS: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}
_KEPT = failures(401, 403, 404)


def router(service: Service) -> APIRouter:
    routes = new_router()
    inspection, prompts = service.inspection, service.prompts

    def inquiry_of(request: Request, job: str) -> Inquiry:
        return inspection.inquiries.get(service.owner(request), job)

    # Questions

    def asks(kind: str, form: type[JobRequest]) -> Callable[..., Coroutine[Any, Any, Response]]:
        async def ask(request: Request, body: Any) -> Response:
            texts: tuple[tuple[int, ...], ...] = ()
            known: dict[str, Any] = {}
            if isinstance(body, PatchRequest):
                texts = (await _end(body, "source"), await _end(body, "base"))
            elif isinstance(body, TextRequest):
                text, known = await text_of(prompts, body)
                texts = (text,)
            if isinstance(body, CompareRequest):
                known["interventions"] = await interventions_of(prompts, body.interventions)
            known |= arguments(service.gpt, body, _APART)
            inquiry = inspection.ask(service.owner(request), kind, texts, known)
            return Json(_job(inquiry), status_code=202)

        ask.__annotations__["body"] = form
        return ask

    async def _end(body: PatchRequest, name: Literal["source", "base"]) -> tuple[int, ...]:
        text = getattr(body, name)
        messages = text.messages if isinstance(text, MessagesText) else None
        try:
            return await ids_of(prompts, None if messages else text, messages)
        except Exception as error:
            raise of(error, name) from error

    for kind, form in REQUESTS.items():
        routes.add_api_route(
            f"/v1/inspect/{kind}",
            asks(kind, form),
            methods=["POST"],
            name=f"inspect_{kind}",
            summary=(QUESTIONS[kind].function.__doc__ or "").partition("\n")[0],
            description="Begins a job; see /v1/inspect/jobs.",
            status_code=202,
            response_model=Job,
            responses=failures(400, 401, 403, 404, 409, 413, 415, 429, 503, 507),
        )

    @routes.post(
        "/v1/inspect/tokens", responses=failures(400, 401, 403, 404, 409, 413, 415, 429, 503, 507)
    )
    async def show_tokens(body: TokensOfText | TokensOfIds | MessagesText | ReplyText) -> Tokens:
        """The pieces of a text, and each merge that formed them."""
        text = body if isinstance(body, MessagesText | ReplyText) else body.text
        merged: str | None = None
        if isinstance(body, TokensOfText):
            merged = body.text if body.merges else None
        try:
            ids = await read(prompts, text)
        except Exception as error:
            raise of(error, "text") from error
        return await asyncio.to_thread(tokens, service.gpt.tokenizer, ids, merged)

    # Jobs

    @routes.get("/v1/inspect/jobs/{job}", responses=_KEPT)
    async def show_job(request: Request, job: str) -> Job:
        """How far it is."""
        return _job(inquiry_of(request, job))

    @routes.get(
        "/v1/inspect/jobs/{job}/events",
        response_class=Response,
        responses={200: {"content": STREAM}, **_KEPT},
    )
    async def follow_job(request: Request, job: str) -> Response:
        """The job whenever it has come further, to its end: job.queued, job.running, job.done,
        job.failed, job.cancelled."""
        inquiry = inquiry_of(request, job)
        return EventStream(_events(inquiry), lambda: None)

    @routes.get(
        "/v1/inspect/jobs/{job}/result",
        response_model=dict,
        responses=failures(400, 401, 403, 404, 409, 413),
    )
    async def show_result(request: Request, job: str) -> Response:
        """What it found, once it has: waits for that. As `to_dict()` of the finding in Python."""
        inquiry = await _ended(inquiry_of(request, job))
        return _bytes(await asyncio.to_thread(result, inquiry, inspection.turns))

    @routes.get(
        "/v1/inspect/jobs/{job}/pictures",
        response_model=PictureData,
        responses=failures(400, 401, 403, 404, 409, 413),
    )
    async def show_pictures(request: Request, job: str) -> Response:
        """What it found as a page draws it; waits for that."""
        inquiry = await _ended(inquiry_of(request, job))
        finding = inquiry.finding
        assert finding is not None
        return _bytes(await asyncio.to_thread(picture_data, finding, inspection.turns))

    @routes.delete("/v1/inspect/jobs/{job}", responses=_KEPT)
    async def forget_job(request: Request, job: str) -> Job:
        """Give it up, if it has not ended; nothing of it is kept."""
        inquiry = inspection.inquiries.forget(service.owner(request), job)
        return _job(inquiry)

    # Traces

    @routes.get("/v1/inspect/traces/{trace}", responses=_KEPT)
    async def show_trace(request: Request, trace: str) -> TraceInfo:
        """What it holds."""
        return trace_info(trace, inspection.traces.get(service.owner(request), trace))

    @routes.get(
        "/v1/inspect/traces/{trace}/values",
        response_model=ValuesPage,
        responses={200: {"content": _SAFETENSORS}, **failures(400, 401, 403, 404)},
    )
    async def show_values(
        request: Request,
        trace: str,
        name: Annotated[list[str] | None, Query(max_length=64)] = None,
        format: Literal["json", "safetensors"] = "json",
        start: Annotated[int, Query(ge=0, lt=2**31)] = 0,
        stop: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    ) -> Response:
        """The numbers of one value, page by page; or of several (all, where none is named) as one
        safetensors file. start, stop: of its rows, one a position."""
        whole = inspection.traces.get(service.owner(request), trace)
        if format == "safetensors":
            body = await asyncio.to_thread(trace_bytes, whole, name, start, stop)
            return Response(body, media_type="application/octet-stream")
        if name is None or len(name) != 1:
            raise ApiError(400, "name one value", code="invalid_value", param="name")
        return _bytes(
            await asyncio.to_thread(page_of, trace, whole, name[0], start, stop, inspection.turns)
        )

    @routes.get("/v1/inspect/traces/{trace}/pictures", response_model=PictureData, responses=_KEPT)
    async def show_trace_pictures(request: Request, trace: str) -> Response:
        """What it holds as a page draws it."""
        whole = inspection.traces.get(service.owner(request), trace)
        return _bytes(await asyncio.to_thread(picture_data, whole, inspection.turns))

    @routes.delete("/v1/inspect/traces/{trace}", responses=_KEPT)
    async def forget_trace(request: Request, trace: str) -> TraceInfo:
        """It is not kept any longer."""
        return trace_info(trace, inspection.traces.take(service.owner(request), trace))

    return routes


def _job(inquiry: Inquiry) -> Job:
    error = None if inquiry.error is None else of(inquiry.error).body["error"]
    return {
        "id": inquiry.id,
        "object": "inspect.job",
        "kind": inquiry.kind,
        "created": inquiry.created,
        "status": inquiry.status,
        "ahead": inquiry.ahead,
        "done": inquiry.done,
        "total": inquiry.total,
        "trace": inquiry.trace,
        "error": None if error is None else {**error},
    }


def _bytes(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def _changes(inquiry: Inquiry) -> AsyncIterator[None]:
    """Now, and whenever it has changed, the last time when it has ended."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(changed.set)

    inquiry.changed.append(tell)
    try:
        while True:
            ended = inquiry.ended
            yield
            if ended:
                return
            await changed.wait()
            changed.clear()
    finally:
        inquiry.changed.remove(tell)


async def _events(inquiry: Inquiry) -> AsyncIterator[bytes]:
    last: Job | None = None
    async for _ in _changes(inquiry):
        job = _job(inquiry)
        if job != last:
            last = job
            yield event({"type": f"job.{job['status']}", **job})
        if not inquiry.ended:
            await asyncio.sleep(_OFTEN)


async def _ended(inquiry: Inquiry) -> Inquiry:
    """Raises what it failed for."""
    async for _ in _changes(inquiry):
        pass
    if inquiry.error is not None:
        known = of(inquiry.error)
        if known.status != 400:
            raise inquiry.error
        # This request is right; the one that began the job was not.
        raise ApiError(409, str(known), code=known.code, param=known.param)
    if inquiry.finding is None:
        raise ApiError(409, "the job was cancelled", code="cancelled")
    return inquiry
