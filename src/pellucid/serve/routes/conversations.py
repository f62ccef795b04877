"""/v1/conversations: what is kept of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from ...chat import Conversation
from ...conversations import Head, Store
from ...errors import InputError
from ...sequence import Settings
from ..answers import to_json
from ..dialogue import head_of, message_of, settings_of
from ..errors import of
from ..routing import failures, new_router
from ..schema.conversations import (
    ChangeConversation,
    ConversationDeleted,
    ConversationList,
    ConversationSettings,
    ConversationTree,
    Message,
    NewConversation,
)
from ..schema.conversations import Conversation as Shown
from ..service import Service
from ..stored import conversation, exported, found, listed, message, tree

__all__ = ["router"]

_STORE = (401, 403, 404, 429, 503, 507)
_EXPORTS: dict[str, Any] = {
    "application/jsonl": {"schema": {"type": "string"}},
    "text/markdown": {"schema": {"type": "string"}},
}
_PLAIN = Settings().flat()


def router(service: Service) -> APIRouter:
    routes = new_router()
    archive, gpt = service.archive, service.gpt
    tokenizer = gpt.tokenizer.fingerprint()

    @routes.get("/v1/conversations", responses=failures(400, *_STORE))
    async def list_conversations(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[str | None, Query(max_length=100)] = None,
        search: Annotated[str | None, Query(min_length=1, max_length=1000)] = None,
    ) -> ConversationList:
        """Those changed last come first. before: only those changed before this one: the next page.
        search: only those of which one of the newest `limit` messages with every word is a part."""

        def page(store: Store) -> ConversationList:
            last = None if before is None else head_of(store, before)
            if search is not None:
                return found(store, tokenizer, search, limit, last)
            return listed(store, tokenizer, limit, last)

        return await archive.ask(page)

    @routes.post(
        "/v1/conversations",
        status_code=201,
        responses=failures(400, 413, 415, *_STORE),
    )
    async def create_conversation(body: NewConversation) -> Shown:
        """A conversation in which nothing was said yet."""
        settings = service.conversing(_said(body.settings))
        try:
            chat = await asyncio.to_thread(
                Conversation, gpt, service.prompts.template.name, body.system, **settings
            )
        except InputError as error:
            raise of(error, "system") from error
        head = await archive.ask(
            lambda store: store.new(
                model=service.kept_as,
                tokenizer=tokenizer,
                template=chat.template.name,
                settings=chat.settings.flat(),
                system=chat.system,
                title=body.title or "",
            )
        )
        return conversation(head, tokenizer)

    @routes.get(
        "/v1/conversations/{id}",
        response_model=ConversationTree,
        responses=failures(400, *_STORE),
    )
    async def show_conversation(
        id: str,
        after: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        tokens: bool = False,
    ) -> Response:
        """It, and its messages page by page: all of the tree, parents first. tokens: with those of
        each reply; then a page holds fewer messages."""

        def page(store: Store) -> bytes:
            head = head_of(store, id)
            last = None if after is None else message_of(store, id, after).id
            return to_json(tree(store, head, tokenizer, last, limit, tokens=tokens))

        return _json(await archive.ask(page))

    @routes.patch("/v1/conversations/{id}", responses=failures(400, 409, 413, 415, *_STORE))
    async def change_conversation(id: str, body: ChangeConversation) -> Shown:
        """Its title, system text, settings, and the message that it goes on from: what is not
        named stays."""
        given = body.model_fields_set
        head = await archive.ask(lambda store: head_of(store, id))
        changes: dict[str, Any] = {}
        if "title" in given:
            changes["title"] = body.title or ""
        try:
            if body.settings is not None:
                changes["settings"] = settings_of(gpt, head, _said(body.settings))
            if "system" in given:
                changes["system"] = await asyncio.to_thread(_system, head, body.system)
        except InputError as error:
            raise of(error, "settings" if "system" not in given else "system") from error

        def change(store: Store) -> Head:
            new = head_of(store, id)
            if "leaf" in given:
                new = store.select(id, body.leaf and message_of(store, id, body.leaf).id)
            return store.change(id, **changes) if changes else new

        return conversation(await archive.ask(change), tokenizer)

    def _system(head: Head, text: str | None) -> str | None:
        """Raises InputError where the window has no room for it."""
        if head.tokenizer != tokenizer:
            return text or None
        settings = Settings.of(**head.settings)
        return Conversation(gpt, head.template, text, settings).system

    @routes.delete("/v1/conversations/{id}", responses=failures(*_STORE))
    async def delete_conversation(id: str) -> ConversationDeleted:
        """With all its branches; it cannot be brought back."""

        def delete(store: Store) -> None:
            store.delete(head_of(store, id).id)

        await archive.ask(delete)
        return {"id": id, "object": "conversation.deleted", "deleted": True}

    @routes.get(
        "/v1/conversations/{id}/export",
        response_class=Response,
        responses={200: {"content": _EXPORTS}, **failures(400, *_STORE)},
    )
    async def export_conversation(
        id: str, format: Literal["jsonl", "markdown"] = "jsonl"
    ) -> Response:
        """jsonl: all of it on one line, which `pellucid conversations import` takes back. markdown:
        the branch that it goes on from, to be read."""

        def whole(store: Store) -> bytes:
            return exported(store.tree(head_of(store, id).id), format)

        kind = "application/jsonl" if format == "jsonl" else "text/markdown; charset=utf-8"
        return Response(await archive.ask(whole), media_type=kind)

    @routes.get(
        "/v1/conversations/{id}/messages/{message_id}",
        response_model=Message,
        responses=failures(*_STORE),
    )
    async def show_message(id: str, message_id: str) -> Response:
        """One message; of a reply, what it was generated from and every token."""

        def whole(store: Store) -> bytes:
            return to_json(message(message_of(store, id, message_id), tokens=True))

        return _json(await archive.ask(whole))

    return routes


def _said(settings: ConversationSettings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    said = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {name: _PLAIN[name] if value is None else value for name, value in said.items()}


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
