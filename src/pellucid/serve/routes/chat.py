"""/v1/chat/completions"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...sequence import Step
from ..answers import DONE, EventStream, Json, data
from ..declared import watch_of
from ..errors import ApiError, of
from ..events import Began, Ended, Scored, Waits
from ..logprobs import chat_tokens
from ..routing import STREAM, failures, new_router
from ..runs import Piece, Run
from ..schema.chat import ChatCompletion, ChatLogprobs, ChatRequest, Delta
from ..schema.completions import FinishReason
from ..seen import seen
from ..service import Service, finish_reason, new_id, usage

__all__ = ["router"]


def router(service: Service) -> APIRouter:
    routes = new_router()

    @routes.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses={
            200: {"content": STREAM},
            **failures(400, 401, 403, 404, 409, 413, 415, 429, 500, 503, 507),
        },
    )
    async def create_chat_completion(request: Request, body: ChatRequest) -> Response:
        """The reply to a conversation, n times."""
        service.check_model(body.model)
        longest = _longest(body)
        if body.top_logprobs is not None and not body.logprobs:
            raise ApiError(
                400,
                "top_logprobs needs logprobs: true",
                code="invalid_value",
                param="top_logprobs",
            )
        settings = service.settings(
            body,
            max_tokens=longest,
            alternatives=body.top_logprobs or 0,
            stop_tokens=service.prompts.stops,
        )
        n = body.n or 1
        watch = await watch_of(service.prompts, body.pellucid, service.owner(request))
        try:
            prompt = await service.prompts.of_messages(body.messages, body.truncation, longest)
            run = service.run(request, [prompt], settings, n=n, watch=watch)
        except Exception as error:
            raise of(error, "messages") from error
        answer = _Answer(service, body, run)
        if body.stream:
            return EventStream(answer.stream(), run.close)
        return Json(answer.whole(await run.finish()))

    return routes


def _longest(body: ChatRequest) -> int | None:
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise ApiError(
            400,
            "max_tokens and max_completion_tokens are one setting: give one of them",
            code="invalid_value",
            param="max_tokens",
        )
    return body.max_tokens or body.max_completion_tokens


class _Answer:
    def __init__(self, service: Service, body: ChatRequest, run: Run) -> None:
        self._tokenizer = service.gpt.tokenizer
        self._model = service.model
        self._logprobs = bool(body.logprobs)
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._run = run
        self._id = new_id("chatcmpl")
        self._created = int(time.time())

    def whole(self, pieces: Sequence[Piece]) -> ChatCompletion:
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": piece.text, "refusal": None},
                    "logprobs": self._scored(piece.steps),
                    "finish_reason": finish_reason(piece),
                    **seen(self._run, piece, whole=True),
                }
                for index, piece in enumerate(pieces)
            ],
            "usage": usage(pieces, len(pieces)),
        }

    def _scored(self, steps: Sequence[Any]) -> ChatLogprobs | None:
        if not self._logprobs:
            return None
        return {"content": chat_tokens(self._tokenizer, steps), "refusal": None}

    async def stream(self) -> AsyncIterator[bytes]:
        async for index, event in self._run:
            piece = self._run.pieces[index]
            if isinstance(event, Began):
                yield self._part(index, {"role": "assistant", "content": ""})
            elif isinstance(event, Ended):
                yield self._part(index, {}, end=finish_reason(piece))
            elif not isinstance(event, Scored | Waits) and (
                event.text or self._logprobs or piece.trace is not None
            ):
                yield self._part(index, {"content": event.text}, self._scored([event]), step=event)
        if self._with_usage:
            n = len(self._run.pieces)
            yield data(self._chunk([]) | {"usage": usage(self._run.pieces, n)})
        yield DONE

    def _part(
        self,
        index: int,
        delta: Delta,
        logprobs: ChatLogprobs | None = None,
        end: FinishReason | None = None,
        step: Step | None = None,
    ) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": end,
            **seen(self._run, self._run.pieces[index], step),
        }
        return data(self._chunk([choice]))

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        return chunk | {"usage": None} if self._with_usage else chunk
