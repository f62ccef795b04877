"""/v1/completions"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...sequence import Step
from ..answers import DONE, EventStream, Json, ahead, data
from ..declared import watch_of
from ..errors import ApiError, of
from ..events import Began, Ended, Scored, Waits
from ..logprobs import TextLogprobs, joined
from ..routing import STREAM, failures, new_router
from ..runs import Piece, Run
from ..schema.completions import Choice, Completion, CompletionRequest, Logprobs, WithIds
from ..seen import seen
from ..service import Service, finish_reason, new_id, usage

__all__ = ["router"]

_LENGTH = 16  # tokens, where none is said; OpenAI's own


def router(service: Service) -> APIRouter:
    routes = new_router()

    @routes.post(
        "/v1/completions",
        response_model=Completion,
        responses={
            200: {"content": STREAM},
            **failures(400, 401, 403, 404, 409, 413, 415, 429, 500, 503, 507),
        },
    )
    async def create_completion(request: Request, body: CompletionRequest) -> Response:
        """A text goes on: one prompt or several, as texts or as ids, n times each."""
        service.check_model(body.model)
        n = body.n or 1
        if body.best_of not in (None, body.n):
            raise ApiError(
                400,
                "best_of must be n: every text that is generated is given",
                code="unsupported_value",
                param="best_of",
            )
        settings = service.settings(
            body,
            max_tokens=_LENGTH if body.max_tokens is None else body.max_tokens,
            alternatives=body.logprobs or 0,
            stop_tokens=service.gpt.stop_tokens,
        )
        watch = await watch_of(service.prompts, body.pellucid, service.owner(request))
        try:
            prompts = await service.prompts.of_completion(body.prompt)
            score = bool(body.echo) and body.logprobs is not None
            run = service.run(request, prompts, settings, n=n, score_prompt=score, watch=watch)
        except Exception as error:
            raise of(error, "prompt") from error
        answer = _Answer(service, body, run, n)
        if body.stream:
            return EventStream(answer.stream(), run.close)
        return Json(answer.whole(await run.finish()))

    return routes


class _Answer:
    def __init__(self, service: Service, body: CompletionRequest, run: Run, n: int) -> None:
        self._tokenizer = service.gpt.tokenizer
        self._model = service.model
        self._echo = bool(body.echo)
        self._scored = body.logprobs is not None
        self._ids = bool(body.return_token_ids)
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._run = run
        self._n = n
        self._id = new_id("cmpl")
        self._created = int(time.time())

    def whole(self, pieces: Sequence[Piece]) -> Completion:
        choices = [self._choice(index, piece) for index, piece in enumerate(pieces)]
        return {**self._part(choices), "usage": usage(pieces, self._n)}

    def _choice(self, index: int, piece: Piece) -> Choice:
        logprobs: Logprobs | None = None
        if self._scored:
            tokens = TextLogprobs(self._tokenizer, ids=self._ids)
            parts = [tokens.of_prompt(piece.prompt, piece.scored)] if piece.scored else []
            logprobs = joined([*parts, tokens.of_steps(piece.steps)])
        return {
            "index": index,
            "text": self._echoed(piece) + piece.text,
            "logprobs": logprobs,
            "finish_reason": finish_reason(piece),
            **self._token_ids(piece.steps),
            **seen(self._run, piece, whole=True),
        }

    def _token_ids(self, steps: Sequence[Step]) -> WithIds:
        return {"token_ids": [step.token for step in steps]} if self._ids else {}

    def _echoed(self, piece: Piece) -> str:
        return self._tokenizer.decode(piece.prompt) if self._echo else ""

    async def stream(self) -> AsyncIterator[bytes]:
        logprobs = [TextLogprobs(self._tokenizer, ids=self._ids) for _ in self._run.pieces]
        self._run.waits = len(self._run.pieces) == 1

        def part(index: int, text: str, scored: Logprobs | None, step: Step | None = None) -> bytes:
            choice: Choice = {
                "index": index,
                "text": text,
                "logprobs": scored,
                "finish_reason": None,
                **self._token_ids([] if step is None else [step]),
                **seen(self._run, self._run.pieces[index], step),
            }
            return data(self._chunk([choice]))

        async for index, event in self._run:
            piece = self._run.pieces[index]
            if isinstance(event, Waits):
                yield ahead(event.ahead)
            elif isinstance(event, Began):
                if self._echo and not piece.ask.score_prompt:
                    yield part(index, self._echoed(piece), None)
            elif isinstance(event, Scored):
                yield part(
                    index, self._echoed(piece), logprobs[index].of_prompt(piece.prompt, event)
                )
            elif isinstance(event, Ended):
                end: Choice = {
                    "index": index,
                    "text": "",
                    "logprobs": None,
                    "finish_reason": finish_reason(piece),
                    **self._token_ids([]),
                    **seen(self._run, piece),
                }
                yield data(self._chunk([end]))
            elif event.text or self._scored or self._ids or piece.trace is not None:
                scored = logprobs[index].of_steps([event]) if self._scored else None
                yield part(index, event.text, scored, event)
        if self._with_usage:
            yield data({**self._part([]), "usage": usage(self._run.pieces, self._n)})
        yield DONE

    def _part(self, choices: list[Choice]) -> Completion:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def _chunk(self, choices: list[Choice]) -> dict[str, Any]:
        part: dict[str, Any] = {**self._part(choices)}
        return part | {"usage": None} if self._with_usage else part
