"""The loop: predict a token, append it, feed it back, until the window is full or a stop."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from .cache import Cache
from .errors import ContextError, InputError
from .model import gpt2
from .sampling import Sampling, log_softmax
from .taps import wants

if TYPE_CHECKING:
    from .backend import Array, Backend
    from .hparams import HParams
    from .taps import Tap
    from .tokenizer import Tokenizer

__all__ = ["Alternative", "Generation", "Model", "Reason", "Record", "Step"]

Reason = Literal["context window full", "stop token", "stop text", "length"]


@dataclass(frozen=True, slots=True)
class Model:
    """Weights with the hyperparameters and the backend that make them run."""

    hparams: HParams
    weights: Any
    backend: Backend

    def forward(
        self,
        tokens: Any,
        cache: Cache | None = None,
        tap: Tap | None = None,
        *,
        lengths: Any = None,
        last_only: bool = False,
    ) -> Array:
        """tokens [position] or [batch, position] -> logits [(batch,) position, n_vocab]

        Logits are the backend's array. See `pellucid.model.gpt2` for the rest.
        Raises InputError for a token id outside 0…n_vocab-1, ContextError beyond n_ctx.
        """
        ids = np.asarray(tokens)
        if ids.size == 0 or ids.ndim not in (1, 2) or not np.issubdtype(ids.dtype, np.integer):
            raise InputError("tokens must be whole numbers, [position] or [batch, position]")
        if ids.min() < 0 or ids.max() >= self.hparams.n_vocab:
            wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
            raise InputError(f"token {wrong} is not in the vocabulary 0…{self.hparams.n_vocab - 1}")
        batch = ids if ids.ndim == 2 else ids[None]
        if lengths is not None:
            counts = np.asarray(lengths)
            if counts.shape != (batch.shape[0],) or not (
                (counts >= 1).all() and (counts <= batch.shape[1]).all()
            ):
                raise InputError(f"lengths must be one number from 1 to {batch.shape[1]} per row")
        with self.backend.computing():
            logits = gpt2(
                self.backend.ids(batch),
                self.weights,
                self.hparams,
                self.backend,
                cache,
                tap,
                lengths=lengths,
                last_only=last_only,
            )
        return logits if ids.ndim == 2 else logits[0]

    def new_cache(self, batch: int = 1) -> Cache:
        return Cache(self.hparams, self.backend, batch)


class Alternative(NamedTuple):
    token: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Step:
    """One token, predicted.

    position: where in the window it stands, from 0. text: what it adds to the text; it may be
    empty while a character is incomplete or a stop text may be beginning, and a stop token adds
    nothing but what was held. logprob: natural logarithm of the probability that the model
    itself gave it, before temperature and filters. alternatives: the likeliest tokens, likeliest
    first.
    reason: why generation ended here, or None.
    """

    position: int
    token: int
    text: str
    logprob: float
    alternatives: tuple[Alternative, ...]
    reason: Reason | None = None


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

    def __call__(self, name: str, value: Array) -> Array:
        return self.record(name, value if self.tap is None else self.tap(name, value))


class Generation:
    """A text being generated. Iterate to stream its steps; `text`, `steps` and `reason` run it
    to its end. Breaking off (Ctrl-C) loses nothing: `so_far` holds the text up to there, and
    iterating again goes on.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        stop: str | Iterable[str] = (),
        stop_tokens: Iterable[int] | None = None,
        alternatives: int = 5,
        n_ctx: int | None = None,
        seed: int | None = None,
        tap: Tap | None = None,
        record: Record | None = None,
        follows: Generation | None = None,
    ) -> None:
        """record: keeps the values of every step, after the tap; a branch is not recorded.
        follows: an earlier generation whose cache is taken over as far as the tokens agree;
        it cannot be continued afterwards.

        Raises InputError for arguments out of range, ContextError for a prompt beyond n_ctx.
        """
        window = model.hparams.n_ctx if n_ctx is None else n_ctx
        if not 1 <= window <= model.hparams.n_ctx:
            raise InputError(
                f"n_ctx must be between 1 and the model's {model.hparams.n_ctx}, not {n_ctx}"
            )
        if max_tokens is not None and max_tokens < 0:
            raise InputError(f"max_tokens must not be negative, got {max_tokens}")
        if not 0 <= alternatives <= model.hparams.n_vocab:
            raise InputError(
                f"alternatives must be between 0 and {model.hparams.n_vocab}, not {alternatives}"
            )
        if seed is not None and seed < 0:
            raise InputError(f"seed must not be negative, got {seed}")
        if not prompt:
            if tokenizer.end_of_text is None:
                raise InputError("the prompt is empty: give at least one token to go on from")
            prompt = [tokenizer.end_of_text]  # GPT-2 begins every document with it
        if len(prompt) > window:
            raise ContextError(
                f"the prompt has {len(prompt)} tokens, the context window holds {window}: shorten "
                f"the prompt by {len(prompt) - window} tokens or more"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.prompt = tuple(int(token) for token in prompt)
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.stop = tuple(text for text in ([stop] if isinstance(stop, str) else stop) if text)
        if stop_tokens is None:
            stop_tokens = tokenizer.special_tokens.values()
        self.stop_tokens = frozenset(stop_tokens)
        self.alternatives = alternatives
        self.window = window
        self.seed = secrets.randbits(32) if seed is None else seed
        self.tap = tap
        self.record = record
        self._made: list[Step] = []
        self._reason: Reason | None = None
        self._emitter = _Emitter(tokenizer, self.stop)
        self._forced: int | None = None
        self._cache = self._take_cache(follows)
        self._logits: np.ndarray | None = None
        if len(self.prompt) == window:
            self._reason = "context window full"
        elif max_tokens == 0:
            self._reason = "length"
        if record is not None:
            most = window if max_tokens is None else min(window, len(self.prompt) + max_tokens)
            record.begin(self._cache.length, len(self.prompt), most)

    # What there is to see

    @property
    def so_far(self) -> str:
        """The text generated up to now, without the prompt."""
        return "".join(step.text for step in self._made)

    @property
    def made(self) -> tuple[Step, ...]:
        """The steps generated up to now."""
        return tuple(self._made)

    @property
    def text(self) -> str:
        """The whole generated text, without the prompt and without the stop."""
        self._finish()
        return self.so_far

    @property
    def steps(self) -> tuple[Step, ...]:
        self._finish()
        return tuple(self._made)

    @property
    def reason(self) -> Reason:
        self._finish()
        assert self._reason is not None
        return self._reason

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and generated tokens up to now."""
        return (*self.prompt, *(step.token for step in self._made))

    @property
    def finished(self) -> bool:
        return self._reason is not None

    def __iter__(self) -> Iterator[Step]:
        index = 0
        while True:
            while index < len(self._made):
                yield self._made[index]
                index += 1
            if self._reason is not None:
                return
            self._advance()

    def __repr__(self) -> str:
        return f"Generation({self.so_far!r}, reason={self._reason!r})"

    # Another way from here

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
        # After the last step of a finished generation there is nothing to choose.
        if not 0 <= at <= len(self._made) - self.finished:
            raise InputError(f"there are {len(self._made)} steps; cannot branch at {at}")
        if token is not None and not 0 <= token < self.model.hparams.n_vocab:
            raise InputError(f"token {token} is not in the vocabulary")
        twin = Generation(
            self.model,
            self.tokenizer,
            self.prompt,
            sampling or self.sampling,
            max_tokens=self.max_tokens,
            stop=self.stop,
            stop_tokens=self.stop_tokens,
            alternatives=self.alternatives,
            n_ctx=self.window,
            seed=self.seed if seed is None else seed,
            tap=self.tap,
        )
        for step in self._made[:at]:
            text, _ = twin._emitter.push(step.token)
            twin._made.append(replace(step, text=text, reason=None))
        twin._cache = self._cache.fork()
        twin._cache.rewind(min(self._cache.length, len(twin.tokens) - 1))
        twin._forced = token
        return twin

    # The loop

    def _finish(self) -> None:
        while self._reason is None:
            self._advance()

    def _advance(self) -> None:
        """One turn: feed what the cache lacks, predict, choose, append."""
        tokens = self.tokens
        if self._logits is None:
            fed = self._cache.length
            tap = self.tap
            if self.record is not None:
                self.record.resume(fed)
                tap = _Recorded(tap, self.record)
            out = self.model.forward(tokens[fed:], self._cache, tap, last_only=True)
            self._logits = self.model.backend.to_numpy(out)[-1]  # [n_vocab]
        logits = self._logits
        n_prompt = len(self.prompt)
        if self._forced is None:
            token = self.sampling.choose(
                logits, self.prompt, tokens[n_prompt:], self.seed, len(tokens)
            )
        else:
            token, self._forced = self._forced, None
        logprobs = log_softmax(np.asarray(logits, np.float64))

        reason: Reason | None = None
        if token in self.stop_tokens:
            text, reason = self._emitter.flush(), "stop token"
        else:
            text, stopped = self._emitter.push(token)
            if stopped:
                reason = "stop text"
            elif len(tokens) + 1 >= self.window:
                reason = "context window full"
            elif self.max_tokens is not None and len(self._made) + 1 >= self.max_tokens:
                reason = "length"
            if reason in ("context window full", "length"):
                text += self._emitter.flush()
        step = Step(
            position=len(tokens),
            token=token,
            text=text,
            logprob=float(logprobs[token]),
            alternatives=self._likeliest(logprobs),
            reason=reason,
        )
        self._logits = None
        self._made.append(step)
        self._reason = reason

    def _likeliest(self, logprobs: np.ndarray) -> tuple[Alternative, ...]:
        n = self.alternatives
        if not n:
            return ()
        top = np.argpartition(-logprobs, n - 1)[:n]
        top = top[np.lexsort((top, -logprobs[top]))]
        return tuple(
            Alternative(int(i), self.tokenizer.decode([int(i)]), float(logprobs[i])) for i in top
        )

    def _take_cache(self, follows: Generation | None) -> Cache:
        if follows is None:
            return self.model.new_cache()
        cache = follows._cache
        known, common = follows.tokens[: cache.length], 0
        # The last token is always fed again: its logits are what comes next.
        for mine, its in zip(self.prompt[:-1], known, strict=False):
            if mine != its:
                break
            common += 1
        cache.rewind(common)
        return cache


class _Emitter:
    """Token by token to text that is safe to show: whole characters, and nothing that might
    be the beginning of a stop text."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._decoder = tokenizer.stream()
        self._stop = stop
        self._held = ""

    def push(self, token: int) -> tuple[str, bool]:
        """-> (text to show now, whether a stop text was met)"""
        self._held += self._decoder.push(token)
        return self._release()

    def flush(self) -> str:
        """What is still held; nothing follows."""
        self._held += self._decoder.flush()
        text, stopped = self._release()
        if not stopped:
            text, self._held = text + self._held, ""
        return text

    def _release(self) -> tuple[str, bool]:
        found = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        if found:
            text, self._held = self._held[: min(found)], ""
            return text, True
        keep = max(
            (
                n
                for text in self._stop
                for n in range(1, min(len(text), len(self._held) + 1))
                if self._held.endswith(text[:n])
            ),
            default=0,
        )
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text, False
