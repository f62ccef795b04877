"""Chats for lm_eval, which hands contexts on as texts: written and read back by a chat template."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..chat import choose_template
from ..errors import InputError
from ..template import Message

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Chat"]


class Chat:
    """template: a name, or None: the model's own. special: the tokens that contexts are written
    with, () until the first chat; then they are read as tokens. stops: the ids that end a reply.

    A message that holds the name of such a token is refused: in the text it would become one.
    """

    def __init__(self, gpt: GPT, template: str | None = None) -> None:
        self.gpt = gpt
        self.template = choose_template(gpt, template)
        self._names = sorted(self.template.special)
        self.special: tuple[str, ...] = ()
        self.stops: frozenset[int] = frozenset()

    def write(self, messages: Sequence[Mapping[str, Any]], *, goes_on: bool) -> str:
        """goes_on: the last message is the beginning of the reply. Raises InputError for a message
        that the template cannot write."""
        self.special = tuple(self._names)
        self.stops = self.template.stops(self.gpt.tokenizer)
        turns = [self._message(message) for message in messages]
        begun = ""
        if goes_on:
            if not turns or turns[-1].role != "assistant":
                raise InputError("the last message is to go on, and it is not the assistant's")
            begun = turns.pop().text
        written = self.template.written(turns)
        whole = "".join("".join((*t.frame.before, t.text, *t.frame.after)) for t in written)
        whole += "".join(self.template.frames["assistant"].before)
        ids = self.template.render(self.gpt.tokenizer, turns)
        if self.gpt.tokenizer.encode(whole, self.special) != ids:
            _warn(
                f"the chat template {self.template.name!r} writes white space around a line end, "
                "which becomes other tokens in lm_eval's text than in a chat"
            )
        return whole + begun

    def _message(self, message: Mapping[str, Any]) -> Message:
        name, text = message.get("role"), message.get("content")
        role = next((role for role in self.template.frames if role == name), None)
        if role is None or not isinstance(text, str):
            raise InputError(
                f"a chat template writes texts of {', '.join(self.template.frames)}; a message "
                f"is {str(dict(message))[:80]}"
            )
        self._refuse_names(text)
        return Message(role, text)

    def _refuse_names(self, text: str) -> None:
        if found := [name for name in self._names if name in text]:
            raise InputError(
                f"a message holds {found[0]}, which the chat template {self.template.name!r} "
                "writes as a token: take it out of the task, or choose another template"
            )

    def checked(self, *texts: str) -> tuple[str, ...]:
        """The texts of a request, a context first, whose tokens are read as it was written."""
        context, *others = texts
        if self.special:
            for text in others:
                self._refuse_names(text)
        elif found := [name for name in self._names if name in context]:
            _warn(f"{found[0]} in a context is read as letters: no chat template was applied")
        return texts


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
