"""What is kept of a conversation, in the forms in which it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from ..conversations import Store, Tree, line, markdown
from .answers import to_json

if TYPE_CHECKING:
    from ..conversations import Head, Token
    from ..conversations import Message as Kept
    from .schema.conversations import (
        Conversation,
        ConversationList,
        ConversationTree,
        Found,
        GeneratedReply,
        Message,
        TokenOfReply,
    )

__all__ = ["conversation", "exported", "found", "listed", "message", "token", "tree"]

PAGE_TOKENS = 2048  # on a page of messages with their tokens
PAGE_CHARACTERS = 1 << 20  # on a page of messages


def conversation(head: Head, tokenizer: str) -> Conversation:
    """tokenizer: of the model served here."""
    return {
        "id": head.id,
        "object": "conversation",
        "title": head.title,
        "created": head.created.isoformat(),
        "changed": head.changed.isoformat(),
        "model": head.model,
        "tokenizer": head.tokenizer,
        "template": head.template,
        "settings": dict(head.settings),
        "system": head.system,
        "leaf": head.leaf,
        "n_messages": head.n_messages,
        "goes_on": head.tokenizer == tokenizer,
    }


def token(kept: Token) -> TokenOfReply:
    return {
        "id": kept.id,
        "text": kept.text,
        "bytes": list(kept.bytes),
        "logprob": kept.logprob,
        "alternatives": [
            {"id": each.token, "text": each.text, "logprob": each.logprob}
            for each in kept.alternatives
        ],
    }


def message(kept: Kept, *, tokens: bool) -> Message:
    """tokens: with them, and with what it was generated from."""
    shown: Message = {
        "id": kept.id,
        "object": "conversation.message",
        "conversation": kept.conversation,
        "parent": kept.parent,
        "role": kept.role,
        "text": kept.text,
        "created": kept.created.isoformat(),
        "source": kept.source,
        "step": kept.step,
        "generated": None,
    }
    if (generated := kept.generated) is not None:
        own: GeneratedReply = {
            "model": generated.model,
            "seed": generated.seed,
            "reason": generated.reason,
        }
        if tokens:
            own["settings"] = dict(generated.settings)
            own["prompt"] = list(generated.prompt)
            own["tokens"] = [token(each) for each in generated.tokens]
        shown["generated"] = own
    return shown


def listed(store: Store, tokenizer: str, limit: int, before: Head | None) -> ConversationList:
    heads = store.list(limit, None if before is None else before.id)
    more = len(heads) == limit
    data = [cast("Found", conversation(head, tokenizer)) for head in heads]
    return {"object": "list", "data": data, "next": heads[-1].id if more else None}


def found(
    store: Store, tokenizer: str, words: str, limit: int, before: Head | None
) -> ConversationList:
    """Conversations with the messages that hold every word, the newest message's first."""
    data: dict[str, Found] = {}
    room = PAGE_CHARACTERS
    for hit in store.search(words, limit):
        if before is not None and (hit.head.changed, hit.head.id) >= (before.changed, before.id):
            continue
        room -= len(hit.message.text)
        if data and room < 0:
            break
        shown = message(hit.message, tokens=False)
        if hit.head.id in data:
            data[hit.head.id]["found"].append(shown)
        else:
            data[hit.head.id] = cast("Found", conversation(hit.head, tokenizer))
            data[hit.head.id]["found"] = [shown]
    return {"object": "list", "data": list(data.values()), "next": None}


def tree(
    store: Store, head: Head, tokenizer: str, after: str | None, limit: int, *, tokens: bool
) -> ConversationTree:
    """A page of it: at most so many messages, and no more than have room."""
    page: list[Message] = []
    room, characters = PAGE_TOKENS, PAGE_CHARACTERS
    for each in _from(store, head.id, after):
        whole = store.message(each.id) if tokens and each.generated is not None else each
        room -= len(whole.generated.tokens) if whole.generated else 0
        characters -= len(whole.text)
        if len(page) == limit or (page and min(room, characters) < 0):
            break
        page.append(message(whole, tokens=tokens))
    else:
        return {**conversation(head, tokenizer), "messages": page, "next": None}
    return {**conversation(head, tokenizer), "messages": page, "next": page[-1]["id"]}


def _from(store: Store, conversation: str, after: str | None) -> Iterator[Kept]:
    """A conversation's messages, a few at a time."""
    while some := store.messages(conversation, after, 32):
        yield from some
        after = some[-1].id


def exported(whole: Tree, form: str) -> bytes:
    """form: jsonl, or markdown. Each message by itself: others' tokens come in between."""
    if form == "markdown":
        return markdown(whole).encode()
    table = line(whole)
    parts = table.pop("tree")
    begin = to_json(table)[:-1]
    return begin + b',"tree":[' + b",".join(map(to_json, parts)) + b"]}\n"
