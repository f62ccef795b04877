"""A conversation: roles → prompt → reply, and again.

A template writes messages as token ids. It is a few lines of Python, never a program that comes
with a model. What a person types is only ever text: the special tokens that divide turns are put
there by the template, so no message can forge a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .errors import ContextError, InputError

if TYPE_CHECKING:
    from .generate import Generation
    from .gpt import GPT
    from .tokenizer import Tokenizer

__all__ = ["ROLE_TOKENS", "TEMPLATES", "Conversation", "Message", "Role", "Template", "template_of"]

Role = Literal["system", "user", "assistant"]

# One special token opens a turn of each role, one closes any turn.
ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
END = "<|end|>"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """How messages become ids, and what ends a reply.

    write: messages -> ids, up to where the reply begins. stop_tokens: ids that end a reply.
    remembers: whether earlier turns belong into the prompt.
    """

    name: str
    write: Callable[[Tokenizer, Sequence[Message]], list[int]]
    stop_tokens: Callable[[Tokenizer], tuple[int, ...]]
    remembers: bool = True


def _plain(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """For a model that never saw a conversation: it goes on from the newest message."""
    return tokenizer.encode(messages[-1].text)


def _dialogpt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """DialoGPT (arXiv 1911.00536): every turn ends in <|endoftext|>."""
    end = _special(tokenizer, "<|endoftext|>", "dialogpt")
    return [id for message in messages for id in (*tokenizer.encode(message.text), end)]


def _roles(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """<|user|>text<|end|> and so on; the reply follows <|assistant|>."""
    end = _special(tokenizer, END, "roles")
    ids: list[int] = []
    for message in messages:
        ids.append(_special(tokenizer, ROLE_TOKENS[message.role], "roles"))
        ids += tokenizer.encode(message.text)
        ids.append(end)
    return [*ids, _special(tokenizer, ROLE_TOKENS["assistant"], "roles")]


def _ends(*names: str) -> Callable[[Tokenizer], tuple[int, ...]]:
    def ids(tokenizer: Tokenizer) -> tuple[int, ...]:
        known = tokenizer.special_tokens
        return tuple(known[name] for name in names if name in known)

    return ids


TEMPLATES = {
    "plain": Template("plain", _plain, _ends("<|endoftext|>"), remembers=False),
    "dialogpt": Template("dialogpt", _dialogpt, _ends("<|endoftext|>")),
    "roles": Template("roles", _roles, _ends(END, "<|endoftext|>", *ROLE_TOKENS.values())),
}


def template_of(gpt: GPT) -> Template:
    """The model's own template, else DialoGPT's for a DialoGPT, roles where the vocabulary has
    the role tokens, else plain."""
    if gpt.template is not None:
        return _template(gpt.template)
    if "dialogpt" in gpt.name.lower():
        return TEMPLATES["dialogpt"]
    if all(token in gpt.tokenizer.special_tokens for token in (*ROLE_TOKENS.values(), END)):
        return TEMPLATES["roles"]
    return TEMPLATES["plain"]


class Conversation:
    """Turns with a model.

    say() and retry() give the reply as a Generation to stream; what has been generated of it
    counts as said, also when it was broken off. When the window is full, the oldest turns are
    left out of the prompt (never the system message), and `notice` says so.
    """

    def __init__(
        self, gpt: GPT, *, template: str | None = None, system: str | None = None, **options: Any
    ) -> None:
        """options: those of `GPT.generate`, such as temperature=0.8, max_tokens=100.
        Raises InputError for an unknown template, or one whose tokens the vocabulary lacks."""
        self.gpt = gpt
        self.template = _template(template) if template is not None else template_of(gpt)
        self.template.write(gpt.tokenizer, [Message("user", "")])
        self.system = system
        self.options = options
        self.notice = ""
        self._turns: list[tuple[str, Generation]] = []
        self._last: Generation | None = None

    @property
    def messages(self) -> list[Message]:
        """What has been said, oldest first, the system message included."""
        said = [] if self.system is None else [Message("system", self.system)]
        for text, reply in self._turns:
            said += [Message("user", text), Message("assistant", reply.so_far)]
        return said

    @property
    def last(self) -> Generation | None:
        """The newest reply."""
        return self._turns[-1][1] if self._turns else None

    def say(self, text: str) -> Generation:
        """Add a message and get the reply. Raises ContextError when it alone is too long; the
        conversation is then as it was."""
        prompt, notice = self._prompt(text)
        options = {"stop_tokens": self.template.stop_tokens(self.gpt.tokenizer), **self.options}
        reply = self.gpt.generate(prompt, follows=self._last, **options)
        self.notice = notice
        self._turns.append((text, reply))
        self._last = reply
        return reply

    def undo(self) -> str:
        """Take back the last exchange; gives back its message. Raises InputError if none."""
        if not self._turns:
            raise InputError("there is nothing to undo yet")
        return self._turns.pop()[0]

    def retry(self, **options: Any) -> Generation:
        """Another reply to the last message. Raises InputError if there is none."""
        if not self._turns:
            raise InputError("there is nothing to try again yet")
        before, self.options = self.options, {**self.options, **options}
        undone = self._turns.pop()
        try:
            return self.say(undone[0])
        except Exception:
            self._turns.append(undone)
            raise
        finally:
            self.options = before

    def _prompt(self, text: str) -> tuple[list[int], str]:
        """-> (ids that leave room for a reply, what had to be left out)"""
        window = self.options.get("n_ctx") or self.gpt.hparams.n_ctx
        room = window - max(1, window // 8)  # a reply gets an eighth of the window at least
        system = [] if self.system is None else [Message("system", self.system)]
        turns = self._turns if self.template.remembers else []
        for dropped in range(len(turns) + 1):
            messages = list(system)
            for said, reply in turns[dropped:]:
                messages += [Message("user", said), Message("assistant", reply.so_far)]
            ids = self.template.write(self.gpt.tokenizer, [*messages, Message("user", text)])
            if len(ids) <= room:
                notice = f"the window is full: {dropped} old turns left out" if dropped else ""
                return ids, notice
        raise ContextError(
            f"the message makes {len(ids)} tokens; of the context window of {window}, {room} are "
            "for messages: shorten it"
        )


def _template(name: str) -> Template:
    if name not in TEMPLATES:
        raise InputError(f"unknown template {name!r}; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def _special(tokenizer: Tokenizer, token: str, template: str) -> int:
    if token not in tokenizer.special_tokens:
        raise InputError(
            f"the template {template!r} needs the special token {token}, which this model's "
            "vocabulary has not; use --template plain"
        )
    return tokenizer.special_tokens[token]
