"""A conversation as one sequence of tokens, and how much of it the window holds.

A chat template says which special tokens stand before and after each turn. What a person (or a
system text, or an earlier reply) says is always ordinary text between them: a `<|endoftext|>`
typed by a user is those letters, never the token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from .errors import InputError
from .tokenizer import END_OF_TEXT

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

__all__ = [
    "TEMPLATES",
    "Exchange",
    "Fitted",
    "Frame",
    "Message",
    "Role",
    "Template",
    "fit",
    "look_up",
    "own_name",
]

Role = Literal["system", "user", "assistant"]

_LONGEST_TOKEN = 128  # characters; GPT-2's longest token is as long


class Message(NamedTuple):
    role: Role
    text: str


class Frame(NamedTuple):
    """What stands before and after a turn: special tokens by name, or a line break."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """frames: what surrounds a turn of each role. The model's turn is left open at its end."""

    name: str
    frames: Mapping[Role, Frame]

    def check(self, tokenizer: Tokenizer) -> None:
        """Raises InputError when the tokenizer lacks a token that the template needs."""
        needed = {part for frame in self.frames.values() for side in frame for part in side}
        if missing := sorted(needed - {"\n"} - set(tokenizer.special_tokens)):
            raise InputError(
                f"the chat template {self.name!r} needs {', '.join(missing)}, which this model's "
                'tokenizer has not; choose another, such as "plain"'
            )

    def turn(self, tokenizer: Tokenizer, role: Role, text: str | Sequence[int]) -> list[int]:
        """One closed turn -> ids. Special tokens in a text stay text; ids are taken as they are."""
        frame = self.frames[role]
        ids = tokenizer.encode(text) if isinstance(text, str) else list(text)
        return [*_ids(tokenizer, frame.before), *ids, *_ids(tokenizer, frame.after)]

    def stops(self, tokenizer: Tokenizer) -> frozenset[int]:
        """The special tokens that end a turn, or begin another."""
        parts = {part for frame in self.frames.values() for side in frame for part in side}
        special = tokenizer.special_tokens
        return frozenset(special[part] for part in parts if part in special)

    def cue(self, tokenizer: Tokenizer) -> list[int]:
        """The ids that open the model's turn."""
        return _ids(tokenizer, self.frames["assistant"].before)

    def render(self, tokenizer: Tokenizer, messages: Iterable[Message]) -> list[int]:
        """A conversation -> the ids that the model goes on from."""
        ids = [i for role, text in messages for i in self.turn(tokenizer, role, text)]
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
        return (
            f"{{%- set opens = {json.dumps(opened)} -%}}{{%- set ends = {json.dumps(closed)} -%}}"
            f"{{{{- {json.dumps(begin)} -}}}}{{%- for message in messages -%}}"
            f"{{%- if not ({known}) -%}}{{{{- raise_exception('{refusal}') -}}}}{{%- endif -%}}"
            "{{- opens[message['role']] + message['content'] + ends[message['role']] -}}"
            "{%- endfor -%}{%- if add_generation_prompt -%}{{- opens['assistant'] -}}{%- endif -%}"
        )


def _ids(tokenizer: Tokenizer, parts: Iterable[str]) -> list[int]:
    special = tokenizer.special_tokens
    return [
        i for part in parts for i in ([special[part]] if part != "\n" else tokenizer.encode(part))
    ]


_ENDS = Frame(after=(END_OF_TEXT,))

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        # A language model without a chat format: the conversation is a text, and it goes on.
        Template(
            "plain",
            {"system": Frame(after=("\n",)), "user": Frame(), "assistant": Frame(after=("\n",))},
        ),
        # DialoGPT (arXiv 1911.00536): every turn ends in <|endoftext|>, nobody is named.
        Template("dialogpt", {"system": _ENDS, "user": _ENDS, "assistant": _ENDS}),
        # Models trained here: each turn opens with its role's token.
        Template(
            "roles",
            {
                "system": Frame(("<|system|>",), ("<|end|>",)),
                "user": Frame(("<|user|>",), ("<|end|>",)),
                "assistant": Frame(("<|assistant|>",), ("<|end|>",)),
            },
        ),
    )
}


def look_up(name: str, tokenizer: Tokenizer | None = None) -> Template:
    """A chat template by its name, checked where a tokenizer is at hand.

    Raises InputError for an unknown name, or when the tokenizer lacks the template's tokens.
    """
    if name not in TEMPLATES:
        raise InputError(f"no chat template {name!r}; there are {', '.join(TEMPLATES)}")
    template = TEMPLATES[name]
    if tokenizer is not None:
        template.check(tokenizer)
    return template


def own_name(template: str | None, model_name: str, tokenizer: Tokenizer) -> str:
    """The template that a model is talked to with: its own; else dialogpt for a DialoGPT; else
    plain."""
    if template is not None:
        return template
    is_dialogpt = "dialogpt" in model_name.lower() and END_OF_TEXT in tokenizer.special_tokens
    return "dialogpt" if is_dialogpt else "plain"


class Exchange(NamedTuple):
    """A user's message and the reply to it: None where there is none yet; ids as they were
    generated, or the text where the ids say more than was kept of it."""

    message: str
    reply: str | Sequence[int] | None


class Fitted(NamedTuple):
    """ids: what the model goes on from. n_dropped: exchanges that the window has no room for.
    n_kept_of_message: tokens of the newest message that fit, or None where all of it does."""

    ids: list[int]
    n_dropped: int
    n_kept_of_message: int | None


def fit(
    template: Template,
    tokenizer: Tokenizer,
    message: str,
    past: Sequence[Exchange] = (),
    *,
    system: str | None = None,
    window: int,
    reply: int,
) -> Fitted:
    """A conversation in a window of so many tokens, of which `reply` stay free for the answer.

    The oldest exchanges are left out first, never the system text; a newest message that is too
    long by itself loses its beginning. Raises InputError where not even one token of it fits.
    """
    opening = list(tokenizer.rules.begin)
    opening += template.turn(tokenizer, "system", system) if system else []
    around = len(template.turn(tokenizer, "user", [])) + len(template.cue(tokenizer))
    room = window - reply - len(opening) - around
    if room < 1:
        raise InputError(
            f"a window of {window} tokens is too small for the {template.name!r} template"
        )
    # Text that cannot fit is dropped before it is encoded.
    ids = tokenizer.encode(message[-_LONGEST_TOKEN * window :])
    n_kept = None
    if len(ids) > room:
        ids, n_kept = ids[-room:], room
    room -= len(ids)
    kept: list[list[int]] = []
    for exchange in reversed(past):
        turn = template.turn(tokenizer, "user", exchange.message[-_LONGEST_TOKEN * window :])
        if exchange.reply is not None:
            turn += template.turn(tokenizer, "assistant", exchange.reply)
        if len(turn) > room:
            break
        room -= len(turn)
        kept.append(turn)
    earlier = [i for turn in reversed(kept) for i in turn]
    newest = template.turn(tokenizer, "user", ids)
    prompt = [*opening, *earlier, *newest, *template.cue(tokenizer)]
    return Fitted(prompt, len(past) - len(kept), n_kept)
