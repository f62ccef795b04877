"""Talk with a GPT: turns become one sequence of tokens, and the model goes on from there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .sequence import Settings
from .template import Exchange, Fitted, Message, Template, fit, look_up, own_name

if TYPE_CHECKING:
    from .generate import Generation, Record
    from .gpt import GPT
    from .taps import Tap

__all__ = ["TINY_WINDOW", "Conversation", "choose_template"]

TINY_WINDOW = 64  # tokens; below it the plain template has room for the newest message only


def choose_template(gpt: GPT, name: str | None = None) -> Template:
    """The template named, else the one that the model is talked to with (`template.own_name`).

    Raises InputError for an unknown name, or when the tokenizer lacks the template's tokens.
    """
    return look_up(name or own_name(gpt.template, gpt.name, gpt.tokenizer), gpt.tokenizer)


@dataclass(slots=True)
class _Turn:
    """What a person said, and the reply to it as far as it was generated."""

    text: str
    generation: Generation
    frozen: Exchange | None = None  # once the next turn began

    @property
    def exchange(self) -> Exchange:
        if self.frozen is not None:
            return self.frozen
        sequence = self.generation.sequence
        ids = [step.token for step in sequence.steps if step.token not in sequence.stop_tokens]
        if not ids and not self.generation.finished:
            return Exchange(self.text, None)
        cut = sequence.settings.stop and sequence.tokenizer.decode(ids) != sequence.text
        return Exchange(self.text, sequence.text if cut else ids)

    @property
    def reply_text(self) -> str | None:
        """None where there is no reply yet."""
        return None if self.exchange.reply is None else self.generation.so_far


class Conversation:
    """Turn by turn with a model.

    template: the name of a chat template (None: see `choose_template`). system: a text that
    stays at the beginning. settings, and changes to them by name: how every reply is generated
    (see `GPT.generate`), such as greedy=True, temperature=0.8, seed=1, max_tokens=100, n_ctx=512.
    tap: sees and may change every value of the replies, such as `inspect.steer`.
    record: keeps the values of the replies, such as `inspect.Recorder`: of each reply those that
    its prompt did not share with the one before.

    When the window is full the oldest turns are left out, never the system text; a newest
    message that is too long by itself loses its beginning. `notice` says so.
    Raises InputError for settings out of range.
    """

    def __init__(
        self,
        gpt: GPT,
        template: str | None = None,
        system: str | None = None,
        settings: Settings | None = None,
        *,
        tap: Tap | None = None,
        record: Record | None = None,
        **changes: Any,
    ) -> None:
        self.gpt = gpt
        self.template = choose_template(gpt, template)
        settings = (settings or Settings()).changed(**changes)
        if settings.stop_tokens is None:
            stops = gpt.stop_tokens | self.template.stops(gpt.tokenizer)
            settings = settings.changed(stop_tokens=stops)
        self.settings = settings
        self.n_ctx = self.settings.window(gpt.hparams)
        self.record = record
        self.notice: str | None = None  # what the last `say` had to leave out, or None
        self.lost = 0  # how many of the oldest turns that was
        self._tap = tap
        self._turns: list[_Turn] = []
        self._system: str | None = None
        self._follows: Generation | None = None
        self._tries = 0
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
        n = len(self.template.turn(self.gpt.tokenizer, "system", text)) if text else 0
        if n > self.n_ctx // 2:
            raise InputError(
                f"the system text has {n} tokens; at most half the window of {self.n_ctx} is for it"
            )
        self._system = text or None

    @property
    def tap(self) -> Tap | None:
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        self._follows = None  # what was computed without it, or with another, is no good now

    @property
    def messages(self) -> list[Message]:
        """Everything said, also what the window no longer holds."""
        messages = [Message("system", self._system)] if self._system else []
        for turn in self._turns:
            messages.append(Message("user", turn.text))
            if (reply := turn.reply_text) is not None:
                messages.append(Message("assistant", reply))
        return messages

    @property
    def last(self) -> Generation | None:
        """The generation of the newest reply."""
        return self._turns[-1].generation if self._turns else None

    def say(self, text: str) -> Generation:
        """Say something; iterate over what is returned to stream the reply.

        A reply that is broken off stays as far as it was generated.
        Raises InputError for an empty message.
        """
        self._tries = 0
        return self._say(text, self.settings.seed)

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
        if seed is None and (first := self.settings.seed) is not None:
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
            self._turns[-1].frozen = self._turns[-1].exchange
        longest = self.settings.max_tokens or self.n_ctx
        reply = max(1, min(longest, self.n_ctx // 4))  # tokens kept free for it
        fitted = fit(
            self.template,
            self.gpt.tokenizer,
            text,
            [] if self.newest_only else [turn.exchange for turn in self._turns],
            system=self._system,
            window=self.n_ctx,
            reply=reply,
        )
        generation = self.gpt.generate(
            fitted.ids,
            replace(self.settings, seed=seed),
            tap=self._tap,
            record=self.record,
            follows=self._follows,
        )
        self._follows = generation
        self.lost, self.notice = fitted.n_dropped, self._notice(fitted, reply)
        self._turns.append(_Turn(text, generation))
        return generation

    def _notice(self, fitted: Fitted, reply: int) -> str | None:
        if fitted.n_kept_of_message is not None:
            return (
                "the message is too long for the window: only its last "
                f"{fitted.n_kept_of_message} tokens are used"
            )
        if not fitted.n_dropped:
            return None
        oldest = "turn" if fitted.n_dropped == 1 else f"{fitted.n_dropped} turns"
        return (
            f"the window of {self.n_ctx} tokens is full, {reply} of them kept for the reply: the "
            f"model no longer sees the oldest {oldest}"
        )
