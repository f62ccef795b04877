"""What is asked of the engine, and what it answers: plain values, for any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, PellucidError
from ..sequence import Alternative, Reason, Sequence, Settings, Step

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = [
    "Ask",
    "Began",
    "Busy",
    "Deliver",
    "Ended",
    "EngineLimits",
    "Event",
    "Scored",
    "Stats",
    "Stopped",
    "Waits",
    "WatchedStep",
]


class Busy(PellucidError):
    """The queue is full. waiting: requests in it. retry_after: seconds until it is worth trying."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests are waiting already; try again later")
        self.waiting = waiting
        self.retry_after = retry_after


class Stopped(PellucidError):
    """The engine takes no more: it drains, has stopped or has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """max_running: requests that advance together. max_waiting: requests that wait for that.
    chunk: tokens of prompts in one pass beside other streams. cache_bytes: for keys and values
    (None: room for max_running whole windows, at most a quarter of the free memory).
    block_size: tokens in a block of it.
    """

    max_running: int = 32
    max_waiting: int = 128
    chunk: int = 64
    cache_bytes: int | None = None
    block_size: int = 16

    def __post_init__(self) -> None:
        for name in ("max_running", "chunk", "block_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.max_waiting < 0:
            raise InputError(f"max_waiting must be at least 0, not {self.max_waiting}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """prompt: ids. settings: as everywhere. client: whose request; clients take turns.
    score_prompt: also the log-probabilities of the prompt's own tokens. begun: the sequence itself,
    where some of it is there already; it goes on."""

    prompt: tuple[int, ...]
    settings: Settings
    client: str = ""
    score_prompt: bool = False
    begun: Sequence | None = None

    def sequence(self, gpt: GPT) -> Sequence:
        """What goes on. Raises InputError and ContextError for what the model cannot meet."""
        if self.begun is not None:
            return self.begun
        settings = self.settings
        if settings.stop_tokens is None:
            settings = settings.changed(stop_tokens=gpt.stop_tokens)
        return Sequence(self.prompt, gpt.tokenizer, gpt.hparams, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """It joined. cached_tokens: of the prompt, computed for an earlier text already. trace: by
    which its values can be asked for once it has ended, where they are kept."""

    sequence: Sequence
    cached_tokens: int
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """It has not joined yet. ahead: requests that come before it."""

    ahead: int


@dataclass(frozen=True, slots=True)
class WatchedStep(Step):
    """A step of a text that is watched. seen: its record, plain values for JSON."""

    seen: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the model thought of each token of the prompt: its log-probability and the likeliest
    in its place; of the first, which follows nothing, None and none."""

    logprobs: tuple[float | None, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last event of every request. reason: why it ended; None where it was cancelled or
    failed. error: what went wrong, or None."""

    reason: Reason | None = None
    error: Exception | None = None


Event = Waits | Began | Scored | Step | Ended
Deliver = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """seconds: of the engine's thread, by part: plan, model, choose, deliver. drafted_tokens: that
    went through the model as drafts. accepted_tokens: those of them that it chose itself."""

    running: int
    waiting: int
    blocks_total: int
    blocks_used: int
    blocks_cached: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    steps: int
    drafted_tokens: int
    accepted_tokens: int
    seconds: dict[str, float]
