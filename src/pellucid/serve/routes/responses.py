"""/v1/responses"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import starlette.responses
from fastapi import APIRouter
from starlette.requests import Request

from .. import errors
from ..answers import EventStream, Json, event
from ..events import Began, Ended, Scored, Waits
from ..routing import STREAM, failures, new_router
from ..runs import Piece, Run
from ..schema.fields import Sampled
from ..schema.messages import Message, TextPart
from ..schema.responses import Content, Item, Response, ResponseRequest
from ..service import Service, finish_reason, new_id

__all__ = ["router"]


def router(service: Service) -> APIRouter:
    routes = new_router()

    @routes.post(
        "/v1/responses",
        response_model=Response,
        responses={
            200: {"content": STREAM},
            **failures(400, 401, 403, 404, 413, 415, 429, 500, 503),
        },
    )
    async def create_response(
        request: Request, body: ResponseRequest
    ) -> starlette.responses.Response:
        """The reply to a conversation; nothing of it is kept."""
        service.check_model(body.model)
        settings = service.settings(
            Sampled(temperature=body.temperature, top_p=body.top_p),
            max_tokens=body.max_output_tokens,
            alternatives=0,
            stop_tokens=service.prompts.stops,
        )
        try:
            prompt = await service.prompts.of_messages(
                _messages(body), body.truncation, body.max_output_tokens
            )
            run = service.run(request, [prompt], settings)
        except Exception as error:
            raise errors.of(error, "input") from error
        answer = _Answer(service, body, run)
        if body.stream:
            return EventStream(answer.stream(), run.close, answer.failed)
        await run.finish()
        return Json(answer.response())

    return routes


def _messages(body: ResponseRequest) -> list[Message]:
    first = [Message(role="system", content=body.instructions)] if body.instructions else []
    if isinstance(body.input, str):
        return [*first, Message(role="user", content=body.input)]
    return first + [
        Message(
            role=item.role,
            content=item.content
            if isinstance(item.content, str)
            else [TextPart(type="text", text=part.text) for part in item.content],
        )
        for item in body.input
    ]


class _Answer:
    def __init__(self, service: Service, body: ResponseRequest, run: Run) -> None:
        self._model = service.model
        self._body = body
        self._run = run
        self._id = new_id("resp")
        self._item_id = new_id("msg")
        self._created = int(time.time())
        self._n_sent = 0  # events

    @property
    def _piece(self) -> Piece:
        return self._run.pieces[0]

    def response(self) -> Response:
        """As far as it has come."""
        piece, body = self._piece, self._body
        cut = piece.ended and finish_reason(piece) == "length"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": "in_progress" if not piece.ended else "incomplete" if cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": self._model,
            "output": [self._item()] if piece.ended else [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": None,
            "store": False,
            "temperature": body.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": body.top_p,
            "truncation": body.truncation or "disabled",
            "usage": {
                "input_tokens": len(piece.prompt),
                "input_tokens_details": {
                    "cached_tokens": piece.cached_tokens,
                    "cache_write_tokens": 0,
                },
                "output_tokens": len(piece.steps),
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": len(piece.prompt) + len(piece.steps),
            }
            if piece.ended
            else None,
            "user": body.user,
            "metadata": body.metadata or {},
        }

    def _item(self) -> Item:
        piece = self._piece
        cut = piece.ended and finish_reason(piece) == "length"
        return {
            "type": "message",
            "id": self._item_id,
            "status": "in_progress" if not piece.ended else "incomplete" if cut else "completed",
            "role": "assistant",
            "content": [self._content(piece.text)] if piece.ended else [],
        }

    @staticmethod
    def _content(text: str) -> Content:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    async def stream(self) -> AsyncIterator[bytes]:
        item = {"output_index": 0}
        part = {"item_id": self._item_id, **item, "content_index": 0}
        yield self._event("response.created", {"response": self.response()})
        async for _, happened in self._run:
            if isinstance(happened, Began):
                yield self._event("response.in_progress", {"response": self.response()})
                yield self._event("response.output_item.added", {**item, "item": self._item()})
                yield self._event(
                    "response.content_part.added", {**part, "part": self._content("")}
                )
            elif isinstance(happened, Ended | Scored | Waits):
                pass
            elif happened.text:
                delta = {**part, "delta": happened.text, "logprobs": []}
                yield self._event("response.output_text.delta", delta)
        text = self._piece.text
        yield self._event("response.output_text.done", {**part, "text": text, "logprobs": []})
        yield self._event("response.content_part.done", {**part, "part": self._content(text)})
        yield self._event("response.output_item.done", {**item, "item": self._item()})
        response = self.response()
        yield self._event(f"response.{response['status']}", {"response": response})

    def failed(self, error: errors.ApiError) -> bytes:
        told = error.body["error"]
        return self._event(
            "error", {"message": told["message"], "code": told["code"], "param": told["param"]}
        )

    def _event(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        number = self._n_sent
        self._n_sent += 1
        return event({"type": kind, "sequence_number": number, **fields})
