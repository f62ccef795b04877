"""Talk with a GPT: turns become one sequence of tokens, and the model goes on from there.

A chat template says which special tokens stand before and after each turn. What a person (or a
system text, or an earlier reply) says is always ordinary text between them: a `<|endoftext|>`
typed by a user is those letters, never the token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .errors import InputError
from .tokenizer import END_OF_TEXT

if TYPE_CHECKING:
    from .generate import Generation, Record
    from .gpt import GPT
    from .taps import Tap
    from .tokenizer import Tokenizer

__all__ = ["TEMPLATES", "Conversation", "Message", "Role", "Template", "choose_template"]

Role = Literal["system", "user", "assistant"]

TINY_WINDOW = 64  # tokens; below it the plain template has room for the newest message only
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

    def cue(self, tokenizer: Tokenizer) -> list[int]:
        """The ids that open the model's turn."""
        return _ids(tokenizer, self.frames["assistant"].before)

    def render(self, tokenizer: Tokenizer, messages: Iterable[Message]) -> list[int]:
        """A conversation -> the ids that the model goes on from."""
        ids = [i for role, text in messages for i in self.turn(tokenizer, role, text)]
        return ids + self.cue(tokenizer)


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


def choose_template(gpt: GPT, name: str | None = None) -> Template:
    """The template named; else the model's own; else dialogpt for a DialoGPT; else plain.

    Raises InputError for an unknown name, or when the tokenizer lacks the template's tokens.
    """
    wanted = name or gpt.template
    if wanted is None:
        is_dialogpt = "dialogpt" in gpt.name.lower() and END_OF_TEXT in gpt.tokenizer.special_tokens
        wanted = "dialogpt" if is_dialogpt else "plain"
    if wanted not in TEMPLATES:
        raise InputError(f"no chat template {wanted!r}; there are {', '.join(TEMPLATES)}")
    template = TEMPLATES[wanted]
    template.check(gpt.tokenizer)
    return template


@dataclass(slots=True)
class _Turn:
    """What a person said, and the reply to it as far as it was generated."""

    text: str
    generation: Generation
    frozen: tuple[str, list[int] | str] | None = None  # text and ids, once the next turn began

    @property
    def answered(self) -> bool:
        return bool(self.reply[1]) or self.generation.finished

    @property
    def reply(self) -> tuple[str, list[int] | str]:
        """-> (text, its ids as generated; or the text again, when its ids say more than it)"""
        if self.frozen is not None:
            return self.frozen
        made = self.generation
        text = made.so_far
        ids = [i for i in made.tokens[len(made.prompt) :] if i not in made.stop_tokens]
        cut = made.stop and made.tokenizer.decode(ids) != text
        return text, (text if cut else ids)


class Conversation:
    """Turn by turn with a model.

    template: the name of a chat template (None: see `choose_template`). system: a text that
    stays at the beginning. generation: the arguments of `GPT.generate`, such as greedy=True,
    temperature=0.8, seed=1, max_tokens=100, n_ctx=512, for every reply.

    When the window is full the oldest turns are left out, never the system text; a newest
    message that is too long by itself loses its beginning. `notice` says so.
    Raises InputError for settings out of range.
    """

    def __init__(
        self,
        gpt: GPT,
        template: str | None = None,
        system: str | None = None,
        **generation: Any,
    ) -> None:
        self.gpt = gpt
        self.template = choose_template(gpt, template)
        self.n_ctx: int = generation.get("n_ctx") or gpt.hparams.n_ctx
        self._settings = generation
        self._turns: list[_Turn] = []
        self._system: str | None = None
        self._follows: Generation | None = None
        self._tries = 0
        self.notice: str | None = None  # what the last `say` had to leave out, or None
        self.lost = 0  # how many of the oldest turns that was
        gpt.generate([0], **{"max_tokens": 0, **generation})  # wrong settings fail here, not later
        self.system = system

    @property
    def newest_only(self) -> bool:
        """Whether the window is so small that every message begins afresh."""
        return self.template.name == "plain" and self.n_ctx < TINY_WINDOW

    @property
    def system(self) -> str | None:
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        if text and self.newest_only:
            raise InputError(
                f"a window of {self.n_ctx} tokens has no room for a system text: it holds the "
                "newest message and the reply to it"
            )
        n = len(self._system_ids(text))
        if n > self.n_ctx // 2:
            raise InputError(
                f"the system text has {n} tokens; at most half the window of {self.n_ctx} is for it"
            )
        self._system = text or None

    @property
    def tap(self) -> Tap | None:
        """What sees and may change every value of the replies, such as `inspect.steer`."""
        tap: Tap | None = self._settings.get("tap")
        return tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._settings["tap"] = tap
        self._follows = None  # what was computed without it, or with another, is no good now

    @property
    def record(self) -> Record | None:
        """What keeps the values of the replies, such as `inspect.Recorder`: of each reply those
        that its prompt did not share with the one before."""
        record: Record | None = self._settings.get("record")
        return record

    @record.setter
    def record(self, record: Record | None) -> None:
        self._settings["record"] = record

    @property
    def messages(self) -> list[Message]:
        """Everything said, also what the window no longer holds."""
        said = [Message("system", self._system)] if self._system else []
        for turn in self._turns:
            said.append(Message("user", turn.text))
            if turn.answered:
                said.append(Message("assistant", turn.reply[0]))
        return said

    @property
    def last(self) -> Generation | None:
        """The generation of the newest reply."""
        return self._turns[-1].generation if self._turns else None

    def say(self, text: str) -> Generation:
        """Say something; iterate over what is returned to stream the reply.

        A reply that is broken off stays as far as it was generated. An earlier generation
        cannot be continued any more: its cached work is taken over.
        Raises InputError for an empty message.
        """
        self._tries = 0
        return self._say(text, self._settings.get("seed"))

    def undo(self) -> str:
        """Take back the newest message and its reply; returns the message.

        Raises InputError when nothing was said.
        """
        if not self._turns:
            raise InputError("there is nothing to undo: nothing was said yet")
        self.notice = None
        return self._turns.pop().text

    def retry(self, seed: int | None = None) -> Generation:
        """Reply again to the newest message. seed: None is another one than before.

        Raises InputError when nothing was said.
        """
        if not self._turns:
            raise InputError("there is nothing to retry: nothing was said yet")
        tries = self._tries + 1
        if seed is None and (first := self._settings.get("seed")) is not None:
            seed = first + tries
        turn = self._turns.pop()
        try:
            generation = self._say(turn.text, seed)
        except BaseException:
            self._turns.append(turn)
            raise
        self._tries = tries
        return generation

    def _say(self, text: str, seed: int | None) -> Generation:
        if not text:
            raise InputError("the message is empty")
        if self._turns and self._turns[-1].frozen is None:
            self._turns[-1].frozen = self._turns[-1].reply
        prompt, notice = self._prompt(text)
        generation = self.gpt.generate(
            prompt,
            **{
                "stop_tokens": self.gpt.tokenizer.special_tokens.values(),
                **self._settings,
                "seed": seed,
                "follows": self._follows,
            },
        )
        self._follows, self.notice = generation, notice
        self._turns.append(_Turn(text, generation))
        return generation

    def _system_ids(self, text: str | None) -> list[int]:
        return self.template.turn(self.gpt.tokenizer, "system", text) if text else []

    def _prompt(self, text: str) -> tuple[list[int], str | None]:
        """The ids to go on from, with the new message at their end, and what was left out."""
        template, tokenizer = self.template, self.gpt.tokenizer
        longest = self._settings.get("max_tokens") or self.n_ctx
        reply = max(1, min(longest, self.n_ctx // 4))  # tokens kept free for the reply
        system = self._system_ids(self._system)
        around = len(template.turn(tokenizer, "user", [])) + len(template.cue(tokenizer))
        room = self.n_ctx - reply - len(system) - around
        if room < 1:
            raise InputError(
                f"a window of {self.n_ctx} tokens is too small for the {template.name!r} template"
            )
        # Text that cannot fit is dropped before it is encoded.
        ids = tokenizer.encode(text[-_LONGEST_TOKEN * self.n_ctx :])
        notice = None
        if len(ids) > room:
            ids = ids[-room:]
            notice = f"the message is too long for the window: only its last {room} tokens are used"
        room -= len(ids)
        kept: list[list[int]] = []
        turns = [] if self.newest_only else self._turns
        for turn in reversed(turns):
            past = template.turn(tokenizer, "user", turn.text[-_LONGEST_TOKEN * self.n_ctx :])
            if turn.answered:
                past += template.turn(tokenizer, "assistant", turn.reply[1])
            if len(past) > room:
                break
            room -= len(past)
            kept.append(past)
        self.lost = len(turns) - len(kept)
        if self.lost and notice is None:
            notice = (
                f"the window of {self.n_ctx} tokens is full, {reply} of them kept for the reply: "
                f"the model no longer sees the oldest "
                f"{'turn' if self.lost == 1 else f'{self.lost} turns'}"
            )
        past = [i for ids_of_turn in reversed(kept) for i in ids_of_turn]
        new = template.turn(tokenizer, "user", ids)
        return [*system, *past, *new, *template.cue(tokenizer)], notice
