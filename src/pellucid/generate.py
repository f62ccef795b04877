"""The loop: predict a token, append it, feed it back, until the window is full or a stop."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Ids
from typing import TYPE_CHECKING, Protocol

from .errors import InputError
from .sequence import Reason, Sequence, Settings, Step
from .speculate import Speculated, Speculation
from .taps import begins, wants

if TYPE_CHECKING:
    from .backend import Array
    from .cache import Cache
    from .model import Model
    from .sampling import Sampling
    from .taps import Tap
    from .tokenizer import Tokenizer

__all__ = ["Generation", "Record"]


class Record(Protocol):
    """A tap that is told where each pass of a generation begins; `inspect.Recorder` is one."""

    def begin(self, n_known: int, n_prompt: int, n_tokens: int) -> None:
        """A generation of up to n_tokens, prompt included, whose first n_known are computed
        already. What it raises stops the generation before anything runs."""

    def resume(self, position: int) -> None:
        """The next pass begins at this position; a pass that was broken off is run again."""

    def __call__(self, name: str, value: Array) -> Array: ...


class _Recorded:
    """A tap, and then the record of what it returned."""

    def __init__(self, tap: Tap | None, record: Record) -> None:
        self.tap, self.record = tap, record

    def wants(self, name: str) -> bool:
        return wants(self.record, name) or (self.tap is not None and wants(self.tap, name))

    def begins(self, positions: Array) -> None:
        for each in (self.tap, self.record):
            if each is not None:
                begins(each, positions)

    def __call__(self, name: str, value: Array) -> Array:
        return self.record(name, value if self.tap is None else self.tap(name, value))


class Generation:
    """A sequence, the cache of what is computed of it, and the model that goes on with it.

    Iterate to stream its steps; `text`, `steps` and `reason` run it to its end. Breaking off
    (Ctrl-C) loses nothing: `so_far` holds the text up to there, and iterating again goes on.

    sequence: its prompt, settings and steps. tap: sees, and may replace, every value.
    record: keeps the values of every step, after the tap; a branch is not recorded.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        prompt: Ids[int],
        settings: Settings | None = None,
        *,
        tap: Tap | None = None,
        record: Record | None = None,
        follows: Generation | None = None,
        speculation: Speculation | None = None,
    ) -> None:
        """follows: an earlier generation of the same model that gives its cache away, as far as
        the tokens agree; what was computed there under another tap stays as it was computed.
        speculation: drafts tokens ahead; not with a tap or a record, which would see drafts too.

        Raises InputError for settings out of range, ContextError for a prompt beyond n_ctx.
        """
        if speculation is not None and (tap is not None or record is not None):
            raise InputError(
                "speculation puts drafts through the model that may be thrown away, and a tap or a "
                "record would see them: leave speculation out"
            )
        self.model = model
        self.sequence = Sequence(prompt, tokenizer, model.hparams, settings or Settings())
        self.tap = tap
        self.record = record
        self.speculated = Speculated()  # how it went, up to now
        self._speculation = speculation
        self._cache: Cache | None = None  # made when it is first needed
        if follows is not None and follows.model is model:
            self._cache = follows._give_away(self.sequence.prompt)
        if record is not None:
            known = 0 if self._cache is None else self._cache.length
            record.begin(known, len(self.prompt), self.sequence.most_tokens)

    # What there is to see

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.sequence.prompt

    @property
    def settings(self) -> Settings:
        return self.sequence.settings

    @property
    def tokenizer(self) -> Tokenizer:
        return self.sequence.tokenizer

    @property
    def seed(self) -> int:
        """The seed in use; drawn where none was set."""
        return self.sequence.seed

    @property
    def window(self) -> int:
        return self.sequence.window

    @property
    def stop_tokens(self) -> frozenset[int]:
        return self.sequence.stop_tokens

    @property
    def so_far(self) -> str:
        """The text generated up to now, without the prompt."""
        return self.sequence.text

    @property
    def steps_so_far(self) -> tuple[Step, ...]:
        """The steps generated up to now."""
        return tuple(self.sequence.steps)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and generated tokens up to now."""
        return self.sequence.tokens

    @property
    def finished(self) -> bool:
        return self.sequence.reason is not None

    @property
    def text(self) -> str:
        """The whole generated text, without the prompt and without the stop."""
        self._finish()
        return self.sequence.text

    @property
    def steps(self) -> tuple[Step, ...]:
        self._finish()
        return tuple(self.sequence.steps)

    @property
    def reason(self) -> Reason:
        self._finish()
        assert self.sequence.reason is not None
        return self.sequence.reason

    def __iter__(self) -> Iterator[Step]:
        index = 0
        while True:
            while index < len(self.sequence.steps):
                yield self.sequence.steps[index]
                index += 1
            if self.finished:
                return
            self._advance()

    def __repr__(self) -> str:
        return f"Generation({self.so_far!r}, reason={self.sequence.reason!r})"

    def branch(
        self,
        at: int,
        token: int | None = None,
        *,
        seed: int | None = None,
        sampling: Sampling | None = None,
    ) -> Generation:
        """Rewind to step `at` (0 is the first generated token) and take another way from there.

        token: the token to take instead; None draws again, with `seed` or `sampling` changed.
        This generation stays as it is.
        """
        sequence = self.sequence.branch(at, token, seed=seed, sampling=sampling)
        twin = Generation(
            self.model,
            self.tokenizer,
            self.prompt,
            self.settings,
            tap=self.tap,
            speculation=self._speculation,
        )
        twin.sequence = sequence
        if self._cache is not None:
            twin._cache = self._cache.fork()
            twin._cache.rewind(min(self._cache.length, sequence.n_tokens - 1))
        return twin

    def replay(self, ids: Ids[int]) -> None:
        """Take these tokens as if they had just been chosen, with what the model thought of them;
        one pass. For a generation that was kept as ids. Raises ContextError where they do not fit.
        """
        if not ids:
            return
        tokens = (*self.tokens, *ids)
        logits = self.model.forward(tokens[:-1], tap=self.tap)
        rows = self.model.backend.to_numpy(logits)[-len(ids) :]
        for token, row in zip(ids, rows, strict=True):
            self.sequence.take(row, int(token))

    # The loop

    def _finish(self) -> None:
        while not self.finished:
            self._advance()

    def _advance(self) -> None:
        """One turn: feed what the cache lacks, predict, choose, append; by speculation several."""
        if self._cache is None:
            self._cache = self.model.new_cache()
        cache, tap = self._cache, self.tap
        # The last token is always fed: its logits are what comes next.
        start = min(cache.length, self.sequence.n_tokens - 1)
        cache.rewind(start)
        if self._speculation is not None:
            drafted, accepted = self._speculation.advance(self.sequence, self.model, cache)
            self.speculated = self.speculated.plus(drafted, accepted)
            return
        if self.record is not None:
            self.record.resume(start)
            tap = _Recorded(tap, self.record)
        logits = self.model.forward(self.sequence.since(start), cache, tap, last_only=True)
        self.sequence.take(self.model.backend.to_numpy(logits)[-1])  # [n_vocab]

    def _give_away(self, prompt: Ids[int]) -> Cache | None:
        """The cache, as far as it holds the prompt's tokens but the last; this generation makes
        a new one if it goes on."""
        cache, self._cache = self._cache, None
        if cache is None:
            return None
        common = 0
        for mine, other in zip(self.tokens[: cache.length], prompt[:-1], strict=False):
            if mine != other:
                break
            common += 1
        cache.rewind(common)
        return cache
