"""Talk with a GPT: turns become one sequence of tokens, and the model goes on from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .sampling import DRAWING
from .sequence import Settings
from .template import Exchange, Fitted, Message, Template, fit, look_up, own_name
from .tokenizer import whole_characters
from .transcript import Reply, Transcript, Turn

if TYPE_CHECKING:
    from .generate import Generation, Record
    from .gpt import GPT
    from .speculate import Speculation
    from .taps import Tap

__all__ = ["TINY_WINDOW", "Conversation", "LiveTurn", "choose_template", "drawn"]

TINY_WINDOW = 64  # tokens; below it the plain template has room for the newest message only


def choose_template(gpt: GPT, name: str | None = None) -> Template:
    """The template named, else the one that the model is talked to with (`template.own_name`).

    Raises InputError for an unknown name, or when the tokenizer lacks the template's tokens.
    """
    return look_up(name or own_name(gpt.template, gpt.name, gpt.tokenizer), gpt.tokenizer)


def drawn(gpt: GPT, settings: Mapping[str, Any]) -> dict[str, Any]:
    """In a tiny window, where nobody chose how, the talk's "token with the highest probability"."""
    tiny = gpt.hparams.n_ctx < TINY_WINDOW and not settings.keys() & {"greedy", *DRAWING}
    return {**settings, "greedy": True} if tiny else dict(settings)


@dataclass(slots=True, eq=False)
class LiveTurn:
    """What a person said, and the reply to it as far as it was generated; one that comes from a
    transcript is computed anew once somebody looks into it. branched: the step at which it left
    the reply that was there before, or None."""

    text: str
    generation: Generation | None = None
    frozen: Exchange | None = None  # once the next turn began
    kept: Reply | None = None  # as it stands in a transcript
    branched: int | None = None

    @property
    def exchange(self) -> Exchange:
        if self.frozen is not None:
            return self.frozen
        if self.generation is None:
            return Exchange(self.text, None)
        sequence = self.generation.sequence
        ids = [step.token for step in sequence.steps if step.token not in sequence.stop_tokens]
        if not ids and not self.generation.finished:
            return Exchange(self.text, None)
        cut = sequence.settings.stop and sequence.tokenizer.decode(ids) != sequence.text
        return Exchange(self.text, sequence.text if cut else ids)

    @property
    def reply_text(self) -> str | None:
        """None where there is no reply yet."""
        if self.kept is not None:
            return self.kept.text
        no_reply = self.generation is None or self.exchange.reply is None
        return None if no_reply or self.generation is None else self.generation.so_far

    @property
    def reply(self) -> Reply | None:
        if self.kept is not None or self.generation is None:
            return self.kept
        sequence = self.generation.sequence
        if not sequence.steps:
            return None
        return Reply(
            text=sequence.text,
            ids=tuple(step.token for step in sequence.steps),
            prompt=sequence.prompt,
            seed=sequence.seed,
        )


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
        self.record = record
        self.speculation: Speculation | None = None  # drafts for replies that nobody watches
        self.notice: str | None = None  # what the last prompt had to leave out, or None
        self.lost = 0  # how many of the oldest turns that was
        self._tap = tap
        self._turns: list[LiveTurn] = []
        self._system: str | None = None
        self._follows: Generation | None = None
        self._tries = 0
        self.settings = (settings or Settings()).changed(**changes)
        self.system = system

    @classmethod
    def of(
        cls, gpt: GPT, transcript: Transcript, *, system: str | None = None, **changes: Any
    ) -> Conversation:
        """A conversation that goes on where it was saved.

        system: in place of the one it had. changes: to its settings, by name. Raises InputError
        where the model's window is smaller than what was said in it.
        """
        n_ctx = gpt.hparams.n_ctx
        for turn in transcript.turns:
            if turn.reply and len(turn.reply.prompt) + len(turn.reply.ids) > n_ctx:
                raise InputError(
                    f"the conversation was held in a larger window than this model's {n_ctx} tokens"
                )
        conversation = cls(
            gpt,
            transcript.template,
            system or transcript.system,
            transcript.settings,
            **changes,
        )
        conversation.resume(transcript.turns)
        return conversation

    def resume(self, turns: Iterable[Turn]) -> None:
        """What was said becomes this, such as another branch of the same conversation."""
        self.clear()
        self._turns = [
            LiveTurn(turn.message, None, _exchange(self.gpt, self.settings, turn), turn.reply)
            for turn in turns
        ]

    def transcript(self) -> Transcript:
        """All of it as it can be saved (`Transcript.save`) and gone on with (`Conversation.of`):
        what was said, the replies' very ids, template and settings. Taps are no part of it."""
        return Transcript(
            model=whole_characters(self.gpt.name),
            tokenizer=self.gpt.tokenizer.fingerprint(),
            template=self.template.name,
            settings=self._settings,
            system=self._system,
            turns=tuple(Turn(message=turn.text, reply=turn.reply) for turn in self._turns),
        )

    @property
    def settings(self) -> Settings:
        """How every reply from now on is generated."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        """Raises InputError where the model's window is smaller, or the system text too long."""
        if settings.stop_tokens is None:
            stops = self.gpt.stop_tokens | self.template.stops(self.gpt.tokenizer)
            settings = settings.changed(stop_tokens=stops)
        n_ctx = settings.window(self.gpt.hparams)
        self._check_system(self._system, n_ctx)
        self._settings, self.n_ctx = settings, n_ctx

    @property
    def newest_only(self) -> bool:
        """Whether the window is so small that every message begins afresh."""
        return self._newest_only(self.n_ctx)

    def _newest_only(self, n_ctx: int) -> bool:
        return self.template.name == "plain" and n_ctx < TINY_WINDOW

    @property
    def system(self) -> str | None:
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        self._check_system(text, self.n_ctx)
        self._system = whole_characters(text) if text else None

    @property
    def system_note(self) -> str | None:
        """Why the system text may have no effect, where there is one."""
        if not self._system or self.template.name not in ("plain", "dialogpt", "roles"):
            return None
        if self.gpt.card.get("name") == "chat":
            return "this model was trained without system texts: it will not do what this one says"
        if self.template.name == "roles":
            return "a model that was not trained with system texts passes over this one"
        return (
            f"the template {self.template.name!r} has no system texts: to the model this one is "
            "what was said first"
        )

    def _check_system(self, text: str | None, n_ctx: int) -> None:
        if text and self._newest_only(n_ctx):
            raise InputError(
                f"a window of {n_ctx} tokens has no room for a system text: it holds the "
                "newest message and the reply to it"
            )
        n = len(self.template.turn(self.gpt.tokenizer, "system", text)) if text else 0
        if n > n_ctx // 2:
            raise InputError(
                f"the system text has {n} tokens; at most half the window of {n_ctx} is for it"
            )

    @property
    def tap(self) -> Tap | None:
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        self._follows = None  # what was computed without it, or with another, is no good now

    @property
    def turns(self) -> tuple[LiveTurn, ...]:
        """What was said, turn by turn; a turn that is changed is another one."""
        return tuple(self._turns)

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
        """The generation of the newest reply, or None."""
        if not self._turns:
            return None
        turn = self._turns[-1]
        if turn.generation is None and turn.kept is not None and turn.kept.prompt:
            generation = self.gpt.generate(
                turn.kept.prompt, self._settings, n_ctx=None, seed=turn.kept.seed
            )
            generation.replay(turn.kept.ids)
            turn.generation = generation
        return turn.generation

    def prompt_ids(self, text: str) -> list[int]:
        """What the model would go on from if this were said now: the ids that `say` gives it, for
        every question of `inspect`. `notice` says what does not fit. Raises InputError for an empty
        message."""
        return self._fitted(text)

    def say(self, text: str) -> Generation:
        """Say something; iterate over what is returned to stream the reply.

        A reply that is broken off stays as far as it was generated.
        Raises InputError for an empty message.
        """
        self._tries = 0
        return self._say(text, self._settings.seed)

    def clear(self) -> None:
        """Forget everything that was said. The system text, settings and tap stay."""
        self._turns, self.notice, self.lost = [], None, 0

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
        if seed is None and (first := self._settings.seed) is not None:
            seed = first + tries
        generation = self._instead(self._turns[-1].text, seed)
        self._tries = tries
        return generation

    def edit(self, text: str) -> Generation:
        """Say this in place of the newest message.

        Raises InputError when nothing was said, and for an empty message.
        """
        if not self._turns:
            raise InputError("there is nothing to edit: nothing was said yet")
        self._tries = 0
        return self._instead(text, self._settings.seed)

    def branch(self, at: int, token: int | None = None) -> Generation:
        """Another way from step `at` of the newest reply (0 is its first token); the steps before
        it stay. token: is taken there; None draws again, with another seed.

        Raises InputError for a step or a token that is not there.
        """
        if (last := self.last) is None:
            raise InputError("there is no reply to branch from: nothing was said yet")
        self._tries += 1
        seed = last.seed + self._tries if token is None else None
        generation = last.branch(at, token, seed=seed)
        self.notice, self.lost = None, 0
        self._turns[-1] = LiveTurn(self._turns[-1].text, generation, branched=at)
        self._follows = generation
        return generation

    def _instead(self, text: str, seed: int | None) -> Generation:
        """Said in place of the newest turn, which stays where that fails."""
        turn = self._turns.pop()
        try:
            return self._say(text, seed)
        except BaseException:
            self._turns.append(turn)
            raise

    def _say(self, text: str, seed: int | None) -> Generation:
        if self._turns and self._turns[-1].frozen is None:
            self._turns[-1].frozen = self._turns[-1].exchange
        text = whole_characters(text)  # as the model reads it: it can be saved, too
        watched = self._tap is not None or self.record is not None
        generation = self.gpt.generate(
            self._fitted(text),
            replace(self._settings, seed=seed),
            tap=self._tap,
            record=self.record,
            follows=self._follows,
            speculate=None if watched else self.speculation,
        )
        self._follows = generation
        self._turns.append(LiveTurn(text, generation))
        return generation

    def _fitted(self, text: str) -> list[int]:
        """The prompt's ids, with as much of the conversation as the window holds."""
        if not text:
            raise InputError("the message is empty")
        most = self._settings.max_tokens or self.n_ctx
        reply = max(1, min(most, self.n_ctx // 4))  # tokens kept free for it
        fitted = fit(
            self.template,
            self.gpt.tokenizer,
            text,
            [] if self.newest_only else [turn.exchange for turn in self._turns],
            system=self._system,
            window=self.n_ctx,
            reply=reply,
        )
        self.lost, self.notice = fitted.n_dropped, self._notice(fitted, reply)
        return fitted.ids

    def _notice(self, fitted: Fitted, reply: int) -> str | None:
        if (n := fitted.n_kept_of_message) is not None:
            return f"the message is too long for the window: only its last {n} tokens are used"
        if not fitted.n_dropped:
            return None
        turns = "turn" if fitted.n_dropped == 1 else f"{fitted.n_dropped} turns"
        full = f"the window of {self.n_ctx} tokens is full, {reply} of them kept for the reply"
        return f"{full}: the model no longer sees the oldest {turns}"


def _exchange(gpt: GPT, settings: Settings, turn: Turn) -> Exchange:
    """A turn of a transcript as the next prompt holds it: as it did before it was saved."""
    if turn.reply is None:
        return Exchange(turn.message, None)
    ids = [token for token in turn.reply.ids if token not in (settings.stop_tokens or ())]
    cut = settings.stop and gpt.tokenizer.decode(ids) != turn.reply.text
    return Exchange(turn.message, turn.reply.text if cut else ids)
