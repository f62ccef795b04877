"""What a verb is asked about: a text as an argument or on standard input, or a turn of a chat."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .output import note
from .store import transcript_named

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Prompt", "read_text", "with_chat", "with_text"]

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """text: what was typed. chat: it is what a user says to the model, or the file or the id of a
    conversation, and the model goes on from there as in `pellucid chat`."""

    text: str
    chat: bool

    @property
    def title(self) -> str:
        """Of a long text the beginning."""
        return self.text if len(self.text) <= 60 else f"{self.text[:59]}…"

    def ids(self, gpt: GPT, **settings: Any) -> str | list[int]:
        """What the model is asked about: the text, or the very ids that a chat goes on from."""
        return self.exchange(gpt, **settings)[0]

    def exchange(self, gpt: GPT, **settings: Any) -> tuple[str | list[int], list[int] | None]:
        """-> (the same, the ids of the reply where it is known). settings: of the chat."""
        if not self.chat:
            return self.text, None
        from ..chat import Conversation
        from ..errors import InputError

        transcript = transcript_named(self.text, gpt.tokenizer)
        if transcript is None:
            conversation, message = Conversation(gpt, **settings), self.text
        else:
            if not transcript.turns:
                raise InputError(f"nothing was said in {self.text}")
            if (reply := transcript.turns[-1].reply) is not None and reply.prompt:
                return list(reply.prompt), list(reply.ids)
            conversation = Conversation.of(gpt, transcript, **settings)
            message = conversation.undo()
        ids = conversation.prompt_ids(message)
        if conversation.notice:
            note(f"Note: {conversation.notice}")
        return ids, None


def with_text(command: Command) -> Command:
    """The argument TEXT, or standard input where it is - or missing, and --chat; hands on
    `prompt`."""

    @wraps(command)
    def run(*, text: str | None, chat: bool, **rest: Any) -> Any:
        return command(prompt=Prompt(text=read_text(text), chat=chat), **rest)

    return click.argument("text", required=False)(with_chat(run))


def with_chat(command: Command) -> Command:
    """--chat; hands on `chat`."""
    option = click.option(
        "--chat",
        is_flag=True,
        help="As a user's turn in the model's chat template; or a conversation: the file that "
        "/save wrote, or an id of the store, or 4 of its digits: the model's last prompt there.",
    )
    decorated: Command = option(command)
    return decorated


def read_text(text: str | None) -> str:
    """The argument TEXT, or standard input where it is - or missing.

    Raises a usage error where there is none, or where its bytes are not UTF-8.
    """
    if text is None or text == "-":
        if sys.stdin.isatty():
            raise click.UsageError("give a text, or - to read standard input")
        try:
            return sys.stdin.buffer.read().decode("utf-8-sig").removesuffix("\n")
        except UnicodeDecodeError as error:
            wrong = f"byte {error.object[error.start]:#04x} at {error.start}"
            raise click.UsageError(f"standard input is not UTF-8 text: {wrong}") from error
    try:
        text.encode()
    except UnicodeEncodeError as error:
        try:
            return os.fsencode(text).decode()  # it was UTF-8, the locale is not
        except UnicodeError:
            what = f"the text is not UTF-8, from character {error.start}"
            raise click.UsageError(what) from error
    return text
