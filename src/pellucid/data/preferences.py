"""Pairs of replies, as people's files hold them: one better, one worse, and what was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ..template import Message
from .files import BadDocument
from .learned import check_row, is_learned
from .rows import Row
from .turns import SYSTEM, exchanges, listed, said, string, system_turn, whole

__all__ = ["BESIDE", "Preference", "preference"]

_HH = re.compile(r"\n\n(Human|Assistant): ?")  # the turns of Anthropic's hh-rlhf
# Keys of what stands beside the replies
BESIDE = ("prompt", "question", "conversations", "instruction", "input", "history", *SYSTEM)


class Preference(NamedTuple):
    """Two replies to one prompt, of which the first is the better one."""

    place: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str


def preference(row: Row, better: str, worse: str) -> Preference:
    """ "chosen" and "rejected": replies, or conversations that differ in their last turn, if at
    all; the prompt may stand beside them or, in conversations, be what both begin with."""
    check_row(row)
    prompt = _prompt(row)
    sides = [_reply(row, key, alone=not prompt) for key in (better, worse)]
    n = 0
    while n < min(map(len, sides)) - 1 and sides[0][n] == sides[1][n]:
        n += 1
    shared, chosen, rejected = sides[0][:n], sides[0][n:], sides[1][n:]
    if [role for role, _ in (*chosen, *rejected)] != ["assistant", "assistant"]:
        raise BadDocument(
            f"{row.place}: {better} and {worse} must differ in one last reply of the assistant"
        )
    if shared[-len(prompt) :] != prompt:  # else the replies' conversations hold it
        both = len(prompt)
        while prompt[len(prompt) - both :] != shared[:both]:
            both -= 1
        if both == 0 and prompt and shared and prompt[-1].role == shared[0].role == "user":
            raise BadDocument(f"{row.place}: the prompt is not the one in {better} and {worse}")
        shared = [*prompt, *shared[both:]]
    if all(role == "system" for role, _ in shared):
        raise BadDocument(f'{row.place}: a pair needs a "prompt"')
    return Preference(row.place, tuple(shared), chosen[0].text, rejected[0].text)


def _prompt(row: Row) -> list[Message]:
    """What stands beside the replies: "prompt" (TRL), "question" or "input" (Orca's),
    "conversations" or "instruction" and "input" (LLaMA-Factory), OpenAI's "input"; a system text
    and earlier exchanges before them."""
    fields = row.fields
    system, asked = [*system_turn(row), *exchanges(row)], listed(fields.get("input"))
    if isinstance(asked, Mapping):
        if asked.get("tools"):
            raise BadDocument(f'{row.place} has "tools", which no chat template here can write')
        return [*system, *said(Row(row.place, asked), "messages", "user")]
    for key in ("prompt", "question", "conversations"):
        if isinstance(value := fields.get(key), str) and _HH.match(value):
            *spoken, last = _spoken(whole(value, row.place))
            return [*system, *spoken, *([last] if last.text.strip() else [])]
        if value not in (None, ""):
            return [*system, *said(row, key, "user")]
    if fields.get("instruction"):
        about = f"\n\n{string(row, 'input')}" if asked else ""
        return [*system, Message("user", string(row, "instruction") + about)]
    return [*system, *([Message("user", string(row, "input"))] if asked else [])]


def _reply(row: Row, key: str, alone: bool) -> list[Message]:
    """One side of a pair. A text without a prompt beside it is a conversation of hh-rlhf."""
    value = row.fields[key]
    if isinstance(value, str) and alone and _HH.match(value):
        return _spoken(whole(value, row.place))
    turns = said(row, key, "assistant")
    last = value[-1] if isinstance(value := listed(value), list) else value
    if is_learned(row, key, last, assistant=turns[-1].role == "assistant") is False:
        raise BadDocument(f'{row.place}: the reply in "{key}" is said not to be learned')
    return turns


def _spoken(text: str) -> list[Message]:
    """The turns of a text as hh-rlhf writes them."""
    _, *parts = _HH.split(text)
    return [
        Message("user" if name == "Human" else "assistant", words)
        for name, words in zip(parts[::2], parts[1::2], strict=True)
    ]
