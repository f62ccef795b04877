"""What a turn of a row says, and who says it: the parts that rows of all shapes are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..template import Message, Role
from .files import BadDocument
from .rows import Row

__all__ = ["ROLES", "SYSTEM", "exchanges", "listed", "said", "short", "string", "system_turn",
           "turn", "whole"]  # fmt: skip

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's name for it since 2024
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
SYSTEM = ("system", "system_prompt")  # keys of a row
# Keys that make a turn mean something that no chat template here can write.
_TURNS_REFUSED = ("tool_calls", "function_call", "audio", "refusal")


def string(row: Row, key: str) -> str:
    value = row.fields.get(key)
    if not isinstance(value, str):
        raise BadDocument(f'{row.place}: "{key}" must be a text, not {short(value)}')
    return whole(value, row.place)


def whole(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise BadDocument(f"{place}: half a character at {error.start} of its text") from error
    return text


def short(value: Any) -> str:
    return "null" if value is None else str(value)[:80]


def system_turn(row: Row) -> list[Message]:
    """A system text that stands beside the turns."""
    key = next((key for key in SYSTEM if row.fields.get(key)), None)
    return [Message("system", string(row, key))] if key else []


def exchanges(row: Row) -> list[Message]:
    """ "history": earlier exchanges [question, answer], as LLaMA-Factory writes it."""
    turns: list[Message] = []
    earlier = listed(row.fields.get("history") or [])
    for exchange in earlier if isinstance(earlier, list) else [earlier]:
        texts = exchange if isinstance(exchange, list) else [exchange]
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise BadDocument(f'{row.place}: "history" must hold pairs of texts')
        asked, answer = (whole(text, row.place) for text in texts)
        turns += [Message("user", asked), Message("assistant", answer)]
    return turns


def listed(value: Any) -> Any:
    """Turns that a file without lists, such as CSV, holds as a text of JSON."""
    if isinstance(value, str) and value.lstrip().startswith(("[{", "[[", '{"messages"')):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def turn(row: Row, key: str, entry: Any) -> Message:
    role, text = None, None
    if isinstance(entry, Mapping):
        if refused := [name for name in _TURNS_REFUSED if entry.get(name)]:
            raise BadDocument(
                f'{row.place}: a turn of "{key}" has "{refused[0]}", which no chat template here '
                "can write: leave such turns or rows out"
            )
        name = entry.get("role", entry.get("from"))
        role = ROLES.get(name.lower()) if isinstance(name, str) else None
        texts = (entry.get(name) for name in ("text", "content", "value"))
        text = next((value for value in texts if value is not None), None)
        if isinstance(text, list):
            text = _joined(row, key, text)
    if role is None or not isinstance(text, str):
        raise BadDocument(
            f'{row.place}: each of "{key}" must have a "role" among system, user, assistant and a '
            f'"text" or "content"; here {_wrong(entry)}'
        )
    return Message(role, whole(text, row.place))


def _wrong(entry: Any) -> str:
    """What is wrong with a turn."""
    if not isinstance(entry, Mapping):
        return f"is {short(entry)}"
    name = entry.get("role", entry.get("from"))
    if not isinstance(name, str) or name.lower() not in ROLES:
        return f"the role is {short(name)}"
    keys = [key for key in ("text", "content", "value") if key in entry]
    return f'"{keys[0]}" is {short(entry[keys[0]])}' if keys else "is neither"


def _joined(row: Row, key: str, parts: list[Any]) -> str:
    """A content in parts, as OpenAI writes it: [{"type": "text", "text": …}, …]"""
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise BadDocument(f'{row.place}: "{key}" holds {short(kind)}, which is no text')
        texts.append(text)
    return "".join(texts)


def said(row: Row, key: str, role: Role) -> list[Message]:
    """A text, turns, or one turn."""
    value = listed(row.fields.get(key))
    value = [value] if isinstance(value, Mapping) else value
    if isinstance(value, str):
        return [Message(role, whole(value, row.place))]
    if not isinstance(value, list) or not value:
        raise BadDocument(f'{row.place}: "{key}" must be a text or turns, not {short(value)}')
    return [turn(row, key, entry) for entry in value]
