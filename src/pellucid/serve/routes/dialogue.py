"""/v1/conversations/…/messages: something is said in a conversation, and answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...conversations import Store
from ...sequence import Step
from .. import dialogue, stored
from ..answers import DONE, EventStream, Json, ahead, data
from ..declared import watch_of
from ..dialogue import Place, Prepared
from ..errors import of
from ..events import Began, Ended, Scored, Waits
from ..routing import STREAM, failures, new_router
from ..runs import Run
from ..schema.completions import FinishReason
from ..schema.conversations import (
    Branch,
    ConversationReply,
    Edit,
    Kept,
    Retry,
    Said,
    Say,
    Saying,
    TokenOfReply,
)
from ..seen import seen
from ..service import Service, finish_reason, new_id, usage

__all__ = ["router"]

_PATH = "/v1/conversations/{id}/messages"


def router(service: Service) -> APIRouter:
    routes = new_router()
    options: dict[str, Any] = {
        "response_model": ConversationReply,
        "responses": {
            200: {"content": STREAM},
            **failures(400, 401, 403, 404, 409, 413, 415, 429, 500, 503, 507),
        },
    }

    async def answer(
        request: Request, body: Saying, param: str, place_of: Callable[[Store], Place]
    ) -> Response:
        service.check_model(body.model)
        watch = await watch_of(service.prompts, body.pellucid, service.owner(request))
        try:
            place = await service.archive.ask(place_of)
            reply = await asyncio.to_thread(dialogue.prepared, service.gpt, place, body.seed)
            run = service.go_on(request, reply.sequence, watch=watch)
        except Exception as error:
            raise of(error, param) from error
        talk = _Answer(service, reply, run)
        try:
            # On disk before anything of the reply is sent; who is told to come back said nothing.
            await service.archive.ask(lambda store: dialogue.begin(store, place, service.kept_as))
        except BaseException:
            run.close()
            raise
        if body.stream:
            return EventStream(talk.stream(), talk.close)
        return Json(await talk.whole())

    @routes.post(_PATH, **options)
    async def say(request: Request, id: str, body: Say) -> Response:
        """Say something; the answer is the reply to it, whole or as it comes. Both are kept, also
        when the client leaves before the end."""
        last = "parent" not in body.model_fields_set
        return await answer(
            request,
            body,
            "text",
            lambda store: dialogue.said(store, id, body.text, body.parent, last=last),
        )

    @routes.post(f"{_PATH}/{{message_id}}/edit", **options)
    async def edit(request: Request, id: str, message_id: str, body: Edit) -> Response:
        """Say something in place of this message, beside which it stands from then on."""
        return await answer(
            request, body, "text", lambda store: dialogue.edited(store, id, message_id, body.text)
        )

    @routes.post(f"{_PATH}/{{message_id}}/retry", **options)
    async def retry(request: Request, id: str, message_id: str, body: Retry) -> Response:
        """Another reply in the place of this one, or to this message; both stay."""
        return await answer(
            request, body, "seed", lambda store: dialogue.retried(store, id, message_id)
        )

    @routes.post(f"{_PATH}/{{message_id}}/branch", **options)
    async def branch(request: Request, id: str, message_id: str, body: Branch) -> Response:
        """Another way from a step of this reply, with the tokens before it; both stay."""
        return await answer(
            request,
            body,
            "step",
            lambda store: dialogue.branched(store, id, message_id, body.step, body.token),
        )

    return routes


class _Answer:
    def __init__(self, service: Service, reply: Prepared, run: Run) -> None:
        self._archive = service.archive
        self._kept_as = service.kept_as
        self._model = service.model
        self._reply = reply
        self._run = run
        self._id = new_id("chatcmpl")
        self._created = int(time.time())
        self._saved = False

    async def whole(self) -> ConversationReply:
        try:
            (piece,) = await self._run.finish()
            kept = await self._keep()
        finally:
            self.close()
        text = self._before + piece.text
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": finish_reason(piece),
                    **seen(self._run, piece, whole=True),
                }
            ],
            "usage": usage([piece]),
            "conversation": self._place(),
            "tokens": [*self._tokens_before, *self._tokens(piece.steps)],
            "kept": kept,
        }

    async def stream(self) -> AsyncIterator[bytes]:
        self._run.waits = True
        async for _, event in self._run:
            if isinstance(event, Waits):
                yield ahead(event.ahead)
            elif isinstance(event, Began):
                yield self._part(
                    {"role": "assistant", "content": self._before},
                    conversation=self._place(),
                    tokens=self._tokens_before,
                )
            elif isinstance(event, Ended):
                kept = await self._keep()
                (piece,) = self._run.pieces
                yield self._part({}, finish_reason(piece), usage=usage([piece]), kept=kept)
            elif not isinstance(event, Scored):
                yield self._part({"content": event.text}, step=event, tokens=self._tokens([event]))
        yield DONE

    def close(self) -> None:
        """Who left: what was generated up to there is kept."""
        self._run.close()
        if not self._saved and self._reply.is_begun:
            self._saved = True
            self._archive.keep(self._write())

    async def _keep(self) -> Kept:
        problem = None
        self._saved = True
        reason = self._reply.sequence.reason
        if self._reply.is_begun:
            kept = asyncio.wrap_future(self._archive.keep(self._write()))
            problem = await asyncio.shield(kept)
        return {"kept": self._reply.is_begun and not problem, "problem": problem, "reason": reason}

    def _write(self) -> Callable[[Store], object]:
        message = self._reply.reply(self._kept_as)
        return lambda store: store.put(message)

    @property
    def _before(self) -> str:
        return "".join(step.text for step in self._reply.sequence.steps[: self._reply.n_kept])

    @property
    def _tokens_before(self) -> list[TokenOfReply]:
        return [stored.token(each) for each in self._reply.kept_tokens()]

    def _tokens(self, steps: list[Step]) -> list[TokenOfReply]:
        return [stored.token(each) for each in self._reply.tokens(steps)]

    def _place(self) -> Said:
        place = self._reply.place
        return {
            "id": place.head.id,
            "message": place.message.id,
            "reply": self._reply.id,
            "prompt": list(self._reply.sequence.prompt),
            "source": None if place.source is None else place.source.id,
            "step": place.step,
            "notice": self._reply.notice,
        }

    def _part(
        self,
        delta: dict[str, str],
        end: FinishReason | None = None,
        step: Step | None = None,
        **more: Any,
    ) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": end,
            **seen(self._run, self._run.pieces[0], step),
        }
        return data(
            {
                "id": self._id,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": self._model,
                "choices": [choice],
                **more,
            }
        )
