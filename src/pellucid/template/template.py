"""A conversation as one sequence of tokens: what stands before, between and after the turns.

A chat template says which special tokens and which words stand around each turn. What a person (or
a system text, or an earlier reply) says is always ordinary text between them: a `<|endoftext|>`
typed by a user is those letters, never the token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["Frame", "Message", "Role", "Special", "Template", "Turn"]

Role = Literal["system", "user", "assistant"]

_THOUGHT = "</think>"  # up to it a reply is what the model thought before it spoke


class Message(NamedTuple):
    role: Role
    text: str


class Special(str):
    """A special token by its name, where any other part of a frame is text."""

    __slots__ = ()


class Frame(NamedTuple):
    """What stands before and after a turn: special tokens (`Special`) and text."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Turn(NamedTuple):
    """One turn as a template writes it: text is what stands between the frame's two sides."""

    role: Role
    frame: Frame
    text: str

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Text beside text is read in one go, as `transformers` reads the whole."""
        return _ids(tokenizer, (*self.frame.before, self.text, *self.frame.after))

    def sides(self, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
        """What is before the text, and what is after it, each read on its own: so it is where the
        text is generated, or learned."""
        return _ids(tokenizer, self.frame.before), _ids(tokenizer, self.frame.after)


@dataclass(frozen=True, slots=True)
class Template:
    """frames: what surrounds a turn of each role. The model's turn is left open at its end.

    system: the text that a conversation without one begins with; None: it begins without.
    preamble: stands before the system text at the beginning. strips: white space around a text is
    taken away. thinks: what a model thought (up to </think>) is taken out of replies once somebody
    has answered them.
    """

    name: str
    frames: Mapping[Role, Frame]
    system: str | None = None
    preamble: str = ""
    strips: bool = False
    thinks: bool = False

    @property
    def special(self) -> tuple[str, ...]:
        """The names of the special tokens in its frames: those before a turn, those after one."""
        sides = (part for at in (0, 1) for frame in self.frames.values() for part in frame[at])
        return tuple(dict.fromkeys(part for part in sides if isinstance(part, Special)))

    def check(self, tokenizer: Tokenizer) -> None:
        """Raises InputError when the tokenizer lacks a token that the template needs."""
        if missing := sorted(set(self.special) - set(tokenizer.special_tokens)):
            raise InputError(
                f"the chat template {self.name!r} needs {', '.join(missing)}, which this model's "
                'tokenizer has not; choose another, such as "plain"'
            )

    def written(self, messages: Iterable[Message]) -> list[Turn]:
        """A conversation from its beginning, turn by turn: with the system text that stands there
        unless it has one, and texts as they are written."""
        turns = list(messages)
        if self.system is not None and (not turns or turns[0].role != "system"):
            turns.insert(0, Message("system", self.system))
        if self.thinks:
            turns = _thoughts(turns)
        written = [Turn(role, self.frames[role], self._said(text)) for role, text in turns]
        if written and self.preamble and written[0].role == "system":
            before, after = written[0].frame
            written[0] = written[0]._replace(frame=Frame((*before, self.preamble), after))
        return written

    def turn(self, tokenizer: Tokenizer, role: Role, text: str | Sequence[int]) -> list[int]:
        """One closed turn, not the first -> ids. Special tokens in a text stay text; ids are taken
        as they are."""
        frame = self.frames[role]
        if isinstance(text, str):
            return Turn(role, frame, self._said(text)).ids(tokenizer)
        return [*_ids(tokenizer, frame.before), *text, *_ids(tokenizer, frame.after)]

    def spoken(self, tokenizer: Tokenizer, reply: str | Sequence[int]) -> str | Sequence[int]:
        """A reply without what the model thought before it, as the turns after it see it."""
        if not self.thinks:
            return reply
        text = reply if isinstance(reply, str) else tokenizer.decode(reply)
        return _without_thought(text) if _THOUGHT in text else reply

    def _said(self, text: str) -> str:
        return text.strip() if self.strips else text

    def stops(self, tokenizer: Tokenizer) -> frozenset[int]:
        """The special tokens that end a turn, or begin another."""
        special = tokenizer.special_tokens
        return frozenset(special[name] for name in self.special if name in special)

    def cue(self, tokenizer: Tokenizer) -> list[int]:
        """The ids that open the model's turn."""
        return _ids(tokenizer, self.frames["assistant"].before)

    def render(self, tokenizer: Tokenizer, messages: Iterable[Message]) -> list[int]:
        """A conversation -> the ids that the model goes on from."""
        ids = [i for turn in self.written(messages) for i in turn.ids(tokenizer)]
        return ids + self.cue(tokenizer)

    def jinja(self, tokenizer: Tokenizer) -> str:
        """The same for other programs, as tokenizer_config.json's `chat_template`; it is never read
        here. They look for special tokens in what was said, which `turn` does not."""
        texts = {token: text for text, token in tokenizer.special_tokens.items()}
        begin = "".join(texts.get(i, "") for i in tokenizer.rules.begin)
        opened, closed = (
            {role: "".join(frame[at]) for role, frame in self.frames.items()} for at in (0, 1)
        )
        known = " or ".join(f"message['role'] == '{role}'" for role in self.frames)
        refusal = f"a role is one of {', '.join(self.frames)}"
        first, said = "", "message['content']" + " | trim" * self.strips
        if self.preamble:
            said = f"({json.dumps(self.preamble)} if loop.first and message['role'] == 'system' "
            said += "else '') + (message['content']" + " | trim" * self.strips + ")"
        if self.system is not None:
            text = opened["system"] + self.preamble + self.system + closed["system"]
            first = (
                "{%- if not messages or messages[0]['role'] != 'system' -%}"
                f"{{{{- {json.dumps(text)} -}}}}{{%- endif -%}}"
            )
        if self.thinks:
            first += _LAST_QUESTION
            said = "(" + _SPOKEN + ")"
        return (
            f"{{%- set opens = {json.dumps(opened)} -%}}{{%- set ends = {json.dumps(closed)} -%}}"
            f"{{{{- {json.dumps(begin)} -}}}}{first}{{%- for message in messages -%}}"
            f"{{%- if not ({known}) -%}}{{{{- raise_exception('{refusal}') -}}}}{{%- endif -%}}"
            f"{{{{- opens[message['role']] + {said} + ends[message['role']] -}}}}"
            "{%- endfor -%}{%- if add_generation_prompt -%}{{- opens['assistant'] -}}{%- endif -%}"
        )


# Of a template that takes thoughts out: where the last question stands, and a reply before it.
_LAST_QUESTION = (
    "{%- set last = namespace(question=-1) -%}{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{%- set last.question = loop.index0 -%}{%- endif -%}"
    "{%- endfor -%}"
)
_SPOKEN = (
    "message['content'].split('</think>')[-1].lstrip('\\n') if message['role'] == 'assistant' and "
    "'</think>' in message['content'] and loop.index0 < last.question else message['content']"
)


def _thoughts(turns: Sequence[Message]) -> list[Message]:
    """Replies that were answered without their thoughts, as Qwen3 was trained."""
    last = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=-1)
    return [
        turn._replace(text=_without_thought(turn.text))
        if turn.role == "assistant" and at < last
        else turn
        for at, turn in enumerate(turns)
    ]


def _without_thought(text: str) -> str:
    return text.rpartition(_THOUGHT)[2].lstrip("\n") if _THOUGHT in text else text


def _ids(tokenizer: Tokenizer, parts: Iterable[str]) -> list[int]:
    ids: list[int] = []
    for special, group in groupby(parts, key=lambda part: isinstance(part, Special)):
        if special:
            ids += [tokenizer.special_tokens[name] for name in group]
        else:
            ids += tokenizer.encode("".join(group))
    return ids
