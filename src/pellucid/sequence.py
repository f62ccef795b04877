"""One sequence being generated: what it began with, how tokens are chosen, when it ends.

It knows no model and keeps no arrays: whoever runs the model hands it the logits (`take`), one
row at a time. `Generation` does that for one sequence, a server's engine for many.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Sequence as Ids
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .errors import ContextError, InputError
from .row import Row
from .sampling import Sampling
from .visible import token_text

if TYPE_CHECKING:
    from .hparams import HParams
    from .tokenizer import Tokenizer

__all__ = ["Alternative", "Reason", "Sequence", "Settings", "Step", "likeliest"]

Reason = Literal["context window full", "stop token", "stop text", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a sequence is generated; the same from Python, the command line, a chat and HTTP.

    sampling: how a token is chosen. max_tokens: at most so many (None: until the window is full).
    stop: texts that end it and are not shown. stop_tokens: ids that end it (None: the special
    tokens, such as <|endoftext|>). alternatives: how many likeliest tokens each step lists.
    n_ctx: a smaller window than the model's. seed: makes sampling repeatable.
    Raises InputError when a value is out of range.
    """

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: frozenset[int] | None = None
    alternatives: int = 5
    n_ctx: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 0), ("alternatives", 0), ("n_ctx", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is None and name != "alternatives":
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, not {value!r}"
                )

    @classmethod
    def of(cls, **values: Any) -> Settings:
        """From one flat set of names: the fields here, and those of `Sampling`, such as
        greedy=True, temperature=0.8. stop may be one text.

        Raises InputError for a name that is neither.
        """
        return cls().changed(**values)

    def changed(self, **values: Any) -> Settings:
        """The same with some settings changed; names as in `of`."""
        own = {each.name for each in fields(Settings)}
        choosing = {each.name for each in fields(Sampling)}
        if unknown := sorted(set(values) - own - choosing):
            known = sorted((own | choosing) - {"sampling"})
            raise InputError(f"no such setting: {', '.join(unknown)}; there are {', '.join(known)}")
        mine = {name: values[name] for name in values if name in own}
        theirs = {name: values[name] for name in values if name in choosing}
        if theirs:
            mine["sampling"] = replace(mine.get("sampling", self.sampling), **theirs)
        if "stop" in mine:
            stop = mine["stop"]
            texts = [stop] if isinstance(stop, str) else _several("stop", stop, str)
            mine["stop"] = tuple(_characters(text) for text in texts if text)
        if mine.get("stop_tokens") is not None:
            tokens = _several("stop_tokens", mine["stop_tokens"], Integral)
            mine["stop_tokens"] = frozenset(map(int, tokens))
        return replace(self, **mine)

    def flat(self) -> dict[str, Any]:
        """The same as one set of names and plain values, which `of` takes back."""
        own = {each.name: getattr(self, each.name) for each in fields(Settings)}
        del own["sampling"]
        own["stop"] = list(self.stop)
        own["stop_tokens"] = None if self.stop_tokens is None else sorted(self.stop_tokens)
        return asdict(self.sampling) | own

    def window(self, hparams: HParams) -> int:
        """Tokens in the window. Raises InputError when the model has no room for so many."""
        if self.n_ctx is None:
            return hparams.n_ctx
        if self.n_ctx > hparams.n_ctx:
            raise InputError(
                f"n_ctx must be between 1 and the model's {hparams.n_ctx}, not {self.n_ctx}"
            )
        return self.n_ctx


def _several(name: str, values: Any, kind: type) -> list[Any]:
    if isinstance(values, Iterable) and not isinstance(values, str):
        listed = list(values)
        if all(isinstance(value, kind) for value in listed):
            return listed
    what = "texts" if kind is str else "ids"
    raise InputError(f"{name} must be {what} in a list, not {values!r}")


def _characters(text: str) -> str:
    """A stop text as replies are decoded: where the locale is not UTF-8, Python hands on bytes of a
    character as halves of surrogate pairs."""
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError as error:
        raise InputError(f"a stop text holds half a character: {text!r}") from error


class Alternative(NamedTuple):
    token: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Step:
    """One token, predicted.

    position: its place in the window, from 0. text: what it adds to the text; it may be
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


class Sequence:
    """prompt: ids; an empty one begins with <|endoftext|>, as GPT-2's documents do. steps: the
    tokens predicted up to now. reason: why it ended, or None. window: tokens it may have.

    Raises InputError for settings that the model cannot meet, ContextError for a prompt beyond
    the window.
    """

    def __init__(
        self, prompt: Ids[int], tokenizer: Tokenizer, hparams: HParams, settings: Settings
    ) -> None:
        self.window = settings.window(hparams)
        if not prompt:
            if tokenizer.end_of_text is None:
                raise InputError("the prompt is empty: give at least one token to go on from")
            prompt = [tokenizer.end_of_text]
        if len(prompt) > self.window:
            too_many = len(prompt) - self.window
            raise ContextError(
                f"the prompt has {len(prompt)} tokens, the context window holds {self.window}: "
                f"shorten the prompt by {too_many} tokens or more"
            )
        self.tokenizer = tokenizer
        self.hparams = hparams
        self.settings = settings
        self.prompt = tuple(int(token) for token in prompt)
        self.seed = _any_seed() if settings.seed is None else settings.seed
        stops = settings.stop_tokens
        self.stop_tokens = frozenset(tokenizer.special_tokens.values()) if stops is None else stops
        self.steps: list[Step] = []
        self.reason: Reason | None = None
        self._text = _SafeText(tokenizer, settings.stop)
        self._forced: int | None = None
        if len(self.prompt) == self.window:
            self.reason = "context window full"
        elif settings.max_tokens == 0:
            self.reason = "length"

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and generated tokens up to now."""
        return self.since(0)

    @property
    def n_tokens(self) -> int:
        """How many tokens there are up to now, prompt included."""
        return len(self.prompt) + len(self.steps)

    def since(self, start: int) -> tuple[int, ...]:
        """Tokens from this place on; without a walk through those before."""
        n_prompt = len(self.prompt)
        steps = self.steps[max(0, start - n_prompt) :]
        return (*self.prompt[start:], *[step.token for step in steps])

    @property
    def text(self) -> str:
        """The text generated up to now, without the prompt and without the stop."""
        return "".join(step.text for step in self.steps)

    @property
    def most_tokens(self) -> int:
        """How many tokens it can come to, prompt included."""
        most = self.settings.max_tokens
        return self.window if most is None else min(self.window, len(self.prompt) + most)

    def take(self, logits: np.ndarray, token: int | None = None) -> Step:
        """logits [n_vocab] for what follows the tokens so far -> the next step, chosen and
        appended. The logits are not kept. token: is taken, whatever would be chosen."""
        settings, position = self.settings, self.n_tokens
        row = Row(logits)
        likeliest = row.likeliest(settings.alternatives)
        forced = self._forced if token is None else token
        if forced is None:
            sampling = settings.sampling
            token = sampling.choose(
                row,
                self.prompt,
                self.since(len(self.prompt)) if sampling.penalizes else (),
                self.seed,
                position,
                unused=self.tokenizer.unused,
            )
        else:
            token = forced
        logprob, *others = row.log_probabilities([token, *likeliest])
        alternatives = _alternatives(likeliest, others, self.tokenizer)
        text, reason = self._ending(token, position)
        step = Step(
            position=position,
            token=token,
            text=text,
            logprob=logprob,
            alternatives=alternatives,
            reason=reason,
        )
        self._forced = None
        self.steps.append(step)
        self.reason = reason
        return step

    def branch(
        self,
        at: int,
        token: int | None = None,
        *,
        seed: int | None = None,
        sampling: Sampling | None = None,
    ) -> Sequence:
        """Another sequence with the first `at` steps of this one, then its own way.

        token: the token to take first, instead; None draws again, with `seed` or `sampling`
        changed. Raises InputError for a step or a token that is not there.
        """
        # After the last step of a finished sequence there is nothing to choose.
        if not 0 <= at <= len(self.steps) - (self.reason is not None):
            raise InputError(f"there are {len(self.steps)} steps; cannot branch at {at}")
        if token is not None and not 0 <= token < self.hparams.n_vocab:
            raise InputError(f"token {token} is not in the vocabulary")
        settings = replace(
            self.settings,
            seed=self.seed if seed is None else seed,
            sampling=sampling or self.settings.sampling,
        )
        twin = Sequence(self.prompt, self.tokenizer, self.hparams, settings)
        for step in self.steps[:at]:
            text, _ = twin._text.push(step.token)
            twin.steps.append(replace(step, text=text, reason=None))
        twin._forced = token
        return twin

    def _ending(self, token: int, n_tokens: int) -> tuple[str, Reason | None]:
        """-> (the text that the token adds, why it is the last one or None)"""
        if token in self.stop_tokens:
            return self._text.flush(), "stop token"
        text, stopped = self._text.push(token)
        if stopped:
            return text, "stop text"
        most = self.settings.max_tokens
        if n_tokens + 1 >= self.window:
            return text + self._text.flush(), "context window full"
        if most is not None and len(self.steps) + 1 >= most:
            return text + self._text.flush(), "length"
        return text, None


def likeliest(logprobs: np.ndarray, n: int, tokenizer: Tokenizer) -> tuple[Alternative, ...]:
    """logprobs [n_vocab] -> the n likeliest tokens, likeliest first; ties by id."""
    ids = Row(logprobs).likeliest(n)
    return _alternatives(ids, logprobs[ids].tolist(), tokenizer)


def _alternatives(
    ids: list[int], logprobs: list[float], tokenizer: Tokenizer
) -> tuple[Alternative, ...]:
    bytes_of = tokenizer.bytes_of
    return tuple(
        [
            Alternative(i, token_text(bytes_of(i)), logprob)
            for i, logprob in zip(ids, logprobs, strict=True)
        ]
    )


class _SafeText:
    """Token by token to text that is safe to show: whole characters, and nothing that might
    be the beginning of a stop text."""

    def __init__(self, tokenizer: Tokenizer, stop: Iterable[str]) -> None:
        self._decoder = tokenizer.stream()
        self._stop = tuple(stop)
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
        if not self._stop:
            text, self._held = self._held, ""
            return text, False
        begins = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        if begins:
            text, self._held = self._held[: min(begins)], ""
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


def _any_seed() -> int:
    return int.from_bytes(os.urandom(4), "little")  # `secrets` takes 4 ms to import
