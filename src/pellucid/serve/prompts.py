"""What a request says, as the ids that the model goes on from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputError
from ..template import Message as Turn
from .dialogue import head_of, message_of, replied
from .schema import messages as schema

if TYPE_CHECKING:
    from ..conversations import Head, Message, Store
    from ..gpt import GPT
    from ..template import Template
    from .archive import Archive
    from .schema.declared import ReplyPlace

__all__ = ["Prompts"]

T = TypeVar("T")
_LONG = 2048  # characters from which a text is encoded beside the event loop


class Prompts:
    """template: how a conversation is written. archive: where those that are kept are read."""

    def __init__(self, gpt: GPT, template: Template, archive: Archive) -> None:
        self.gpt = gpt
        self.template = template
        self._archive = archive

    @property
    def stops(self) -> frozenset[int]:
        """The ids that end a reply."""
        return self.gpt.stop_tokens | self.template.stops(self.gpt.tokenizer)

    async def of_completion(
        self, prompt: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]
    ) -> list[list[int]]:
        """Each prompt's ids; of an empty text, the token with which texts begin."""
        prompts = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
        n = sum(len(text) for text in prompts if isinstance(text, str))
        return await _beside(n, lambda: [self._begun(self.gpt.encode(text)) for text in prompts])  # type: ignore[arg-type]

    async def of_text(self, text: str, *, framed: bool) -> list[int]:
        """framed: with the ids that this model's texts begin with, such as <s>."""
        encode = self.gpt.encode if framed else self.gpt.tokenizer.encode
        return await _beside(len(text), lambda: encode(text))

    def _begun(self, ids: list[int]) -> list[int]:
        if ids:
            for token in ids:
                if token >= self.gpt.hparams.n_vocab:
                    raise InputError(
                        f"token {token} is not in the vocabulary 0…{self.gpt.hparams.n_vocab - 1}"
                    )
            return ids
        first = self.gpt.roles.bos
        first = self.gpt.tokenizer.end_of_text if first is None else first
        if first is None:
            raise InputError("the prompt is empty: give at least one token to go on from")
        return [first]

    async def of_messages(
        self, messages: Sequence[schema.Message], truncation: str | None, longest: int | None
    ) -> list[int]:
        """A conversation's ids, up to where the reply begins.

        truncation: "auto" leaves out the oldest turns where the window would be too full, a quarter
        of it, or `longest` tokens, kept for the reply.
        """
        said = [_message(message) for message in messages]
        n = sum(len(message.text) for message in said)
        if truncation == "auto":
            return await _beside(n, lambda: self._fitted(said, longest))
        tokenizer = self.gpt.tokenizer
        begin = list(tokenizer.rules.begin)
        return await _beside(n, lambda: begin + self.template.render(tokenizer, said))

    async def of_reply(self, place: ReplyPlace) -> tuple[list[int], list[int]]:
        """-> (what a reply that is kept was generated from, its own ids). Raises Missing, ApiError
        where it is another model's, InputError where it has no such token."""

        def read(store: Store) -> tuple[Head, Message]:
            head = head_of(store, place.conversation)
            return head, message_of(store, place.conversation, place.message)

        head, message = await self._archive.ask(read)
        return replied(self.gpt, head, message, place.token)

    def _fitted(self, said: list[Turn], longest: int | None) -> list[int]:
        """As `template.fit`, for turns in any order: the first system texts stay, and so does the
        newest turn; an answer does not stay without its question."""
        tokenizer, window = self.gpt.tokenizer, self.gpt.hparams.n_ctx
        written = self.template.written(said)
        turns = [turn.ids(tokenizer) for turn in written]
        n_system = next((i for i, t in enumerate(written) if t.role != "system"), len(turns) - 1)
        opening = [*tokenizer.rules.begin, *(i for turn in turns[:n_system] for i in turn)]
        cue = self.template.cue(tokenizer)
        room = window - max(1, min(longest or window, window // 4)) - len(opening) - len(cue)
        first = len(turns) - 1
        room -= len(turns[first])
        while first > n_system and len(turns[first - 1]) <= room:
            first -= 1
            room -= len(turns[first])
        while first > n_system and first < len(turns) - 1 and written[first].role == "assistant":
            first += 1
        return [*opening, *(i for turn in turns[first:] for i in turn), *cue]


def _message(message: schema.Message) -> Turn:
    content = message.content
    text = content if isinstance(content, str) else "\n".join(part.text for part in content)
    return Turn("system" if message.role == "developer" else message.role, text)


async def _beside(n_characters: int, work: Callable[[], T]) -> T:
    """Not on the event loop where it takes long: a million characters take a quarter second."""
    return work() if n_characters < _LONG else await asyncio.to_thread(work)
