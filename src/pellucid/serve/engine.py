"""The engine: one thread that owns the model and runs many requests through it at once.

    plan (scheduler) → one pass over the planned tokens of all → choose each next token → deliver

Each request is a `Sequence`; what the engine knows of the model is `forward`, and of the blocks
their numbers. Work that watches or changes values runs beside it (`aside`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import get_backend
from ..backend.strict import StrictBackend
from ..blocks import BlockPool, BlockStore, Packed
from ..checkpoint.contents import available_memory
from ..errors import InputError, PellucidError
from ..model import Model
from ..sampling import log_softmax
from ..sequence import Alternative, Sequence, likeliest
from .events import (
    Ask,
    Began,
    Busy,
    Deliver,
    Ended,
    EngineLimits,
    Event,
    Scored,
    Stats,
    Stopped,
    Waits,
)
from .scheduler import Full, Request, Scheduler, Turn
from .turns import Turns

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Engine", "Ticket"]


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's place in the engine."""

    sequence: Sequence
    deliver: Deliver
    request: Request
    began: bool = False
    ended: bool = False
    ahead: int | None = None  # requests that join before it, as it was told
    # What is known of the prompt's own tokens up to now, where that is asked for.
    logprobs: list[float | None] | None = None
    alternatives: list[tuple[Alternative, ...]] = field(default_factory=list)


class Engine:
    """gpt: its model is this thread's alone, from `start` to `stop`. turns: when its passes may
    run, where other work shares the processor. strict: a text's numbers do not depend, to the last
    bit, on those beside it (`backend.strict`)."""

    def __init__(
        self,
        gpt: GPT,
        limits: EngineLimits | None = None,
        turns: Turns | None = None,
        *,
        strict: bool = False,
    ) -> None:
        """Raises InputError where the keys and values of one whole window have no room, and for
        strict where the backend has no such mode."""
        self.gpt = gpt
        self._model = _strict(gpt.model) if strict else gpt.model
        self.limits = limits or EngineLimits()
        self.turns = turns or Turns()
        hparams, backend, size = gpt.hparams, self._model.backend, self.limits.block_size
        n_blocks = self._n_blocks()
        self.pool = BlockPool(n_blocks, size)
        self._store = BlockStore(hparams, backend, n_blocks=n_blocks, block_size=size)
        self._scheduler = Scheduler(
            self.pool,
            max_running=self.limits.max_running,
            # `submit` counts; several may arrive at once before the first of them joins.
            max_waiting=self.limits.max_waiting + self.limits.max_running,
            chunk=self.limits.chunk,
        )
        self._tickets: dict[int, Ticket] = {}  # by id() of the request
        self._lock = threading.Condition()
        self._arrived: deque[Ticket] = deque()
        self._given_up: deque[Ticket] = deque()
        self._draining = self._stopping = False
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        self._counts = dict.fromkeys(("prompt", "cached", "generated", "steps"), 0)
        self._seconds = dict.fromkeys(("plan", "model", "choose", "deliver"), 0.0)
        self._step_seconds = 0.05  # of late, for `Busy.retry_after`

    def _n_blocks(self) -> int:
        hparams, size = self.gpt.hparams, self.limits.block_size
        each = BlockStore.bytes_per_block(hparams, self._model.backend, size)
        window = -(-hparams.n_ctx // size)
        if self.limits.cache_bytes is not None:
            n_blocks = self.limits.cache_bytes // each
        else:
            free = available_memory()
            most = window * self.limits.max_running
            n_blocks = most if free is None else max(window, min(most, free // 4 // each))
        if n_blocks < window:
            raise InputError(
                f"the keys and values of one window of {hparams.n_ctx} tokens take "
                f"{window * each / 2**20:.0f} MiB; cache_bytes is {self.limits.cache_bytes}"
            )
        return n_blocks

    # For any thread

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and self.failure is None

    @property
    def draining(self) -> bool:
        return self._draining

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, ask: Ask, deliver: Deliver) -> Ticket:
        """deliver: called on the engine's thread with each event, `Ended` last; it must not block.

        Raises InputError and ContextError for what the model cannot meet, Busy where the queue is
        full, Stopped where no more is taken.
        """
        sequence = ask.sequence(self.gpt)
        request = Request(tokens=list(sequence.tokens), client=ask.client, whole=ask.score_prompt)
        ticket = Ticket(sequence, deliver, request)
        if ask.score_prompt:
            ticket.logprobs, ticket.alternatives = [None], [()]
        with self._lock:
            if self._draining or self._stopping or not self.alive:
                raise Stopped("the engine takes no more requests")
            waiting = self._scheduler.n_waiting + len(self._arrived)
            # What can join at once never counts as waiting.
            room = self.limits.max_running - len(self._scheduler.running)
            if waiting >= self.limits.max_waiting + max(0, room):
                raise Busy(waiting, max(1.0, waiting * 16 * self._step_seconds))
            self._arrived.append(ticket)
            self._lock.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Give it up; its blocks are free after the pass that runs. It may have ended already."""
        with self._lock:
            if not ticket.ended:
                self._given_up.append(ticket)
                self._lock.notify()

    def drain(self) -> None:
        """Take no more; what is under way goes on to its end."""
        with self._lock:
            self._draining = True
            self._lock.notify()

    def stop(self, timeout: float | None = None) -> bool:
        """Cancel everything and end the thread; whether it ended in so many seconds."""
        with self._lock:
            self._draining = self._stopping = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.alive

    def stats(self) -> Stats:
        scheduler, pool, counts = self._scheduler, self.pool, self._counts
        return Stats(
            running=len(scheduler.running),
            waiting=scheduler.n_waiting + len(self._arrived),
            blocks_total=pool.n_blocks,
            blocks_used=pool.n_used,
            blocks_cached=pool.n_remembered,
            prompt_tokens=counts["prompt"],
            cached_tokens=counts["cached"],
            generated_tokens=counts["generated"],
            steps=counts["steps"],
            seconds=dict(self._seconds),
        )

    # The engine's thread

    def _run(self) -> None:
        try:
            with _one_thread_of_blas(self.gpt):
                while self._take_in():
                    self._step()
        except BaseException as error:
            self.failure = error
        finally:
            failed = Stopped("the engine has failed; see the server's log")
            with self._lock:
                self._stopping = True
                self._tickets |= {id(each.request): each for each in self._arrived}
            for ticket in list(self._tickets.values()):
                self._end(ticket, Ended(error=failed if self.failure else None))

    def _take_in(self) -> bool:
        """What arrived and was given up since the last step; waits where there is nothing to do.
        False: the thread is to end."""
        with self._lock:
            while not (self._arrived or self._given_up or self._stopping):
                if not self._scheduler.idle:
                    break
                if self._draining:
                    return False
                self._lock.wait()
            if self._stopping:
                return False
            arrived, given_up = list(self._arrived), list(self._given_up)
            self._arrived.clear()
            self._given_up.clear()
        for ticket in arrived:
            self._tickets[id(ticket.request)] = ticket
            if ticket.sequence.reason is not None and ticket.logprobs is None:
                self._begin(ticket)  # nothing is to be generated
                self._end(ticket, Ended(reason=ticket.sequence.reason))
                continue
            try:
                self._scheduler.add(ticket.request)
            except Full:  # cannot be: `submit` counts
                self._end(ticket, Ended(error=Busy(self._scheduler.n_waiting, 1.0)))
        for ticket in given_up:
            if not ticket.ended:
                self._end(ticket, Ended())
        return True

    def _step(self) -> None:
        begin = time.perf_counter()
        with self._timed("plan"):
            turns = self._scheduler.plan()
        self._tell_who_waits()
        if not turns:
            return
        with self._timed("model"), self.turns.stream():
            rows = self._forward(turns)
        with self._timed("choose"):
            for turn, logits in zip(turns, rows, strict=True):
                self._take(turn, logits)
        self._counts["steps"] += 1
        self._step_seconds = 0.9 * self._step_seconds + 0.1 * (time.perf_counter() - begin)

    def _tell_who_waits(self) -> None:
        """Each whose place in the queue is another than it was told."""
        for ahead, request in enumerate(self._scheduler.waiting()):
            ticket = self._tickets[id(request)]
            if not ticket.began and ticket.ahead != ahead:
                ticket.ahead = ahead
                self._deliver(ticket, Waits(ahead=ahead))

    def _forward(self, turns: list[Turn]) -> list[np.ndarray]:
        """One pass over the tokens of all turns -> per turn its logits: the last token's
        [1, n_vocab], or all of its tokens' [n, n_vocab] where the prompt is scored."""
        tokens: list[int] = []
        only: list[int] = []
        counts: list[int] = []
        for request, n in turns:
            ids = request.tokens[request.computed : request.computed + n]
            every = request.whole and self._tickets[id(request)].logprobs is not None
            first = 0 if every else n - 1
            only.extend(range(len(tokens) + first, len(tokens) + n))
            counts.append(n - first)
            tokens += ids
        texts = [(request.blocks, request.computed, n) for request, n in turns]
        model = self._model
        logits = model.forward(tokens, Packed(self._store, texts), only=only)
        return np.split(model.backend.to_numpy(logits), np.cumsum(counts)[:-1])

    def _take(self, turn: Turn, logits: np.ndarray) -> None:
        """A turn's tokens went through the model: what follows from that."""
        request, n = turn
        ticket = self._tickets[id(request)]
        begin = request.computed
        self._scheduler.computed(request, n)
        self._begin(ticket)
        if ticket.ended:
            return
        try:
            if ticket.logprobs is not None:
                self._score(ticket, begin, n, logits)
            if request.missing:
                return
            sequence = ticket.sequence
            if sequence.reason is not None:  # only the prompt was asked about
                self._end(ticket, Ended(reason=sequence.reason))
                return
            step = sequence.take(logits[-1])
        except PellucidError as error:
            self._end(ticket, Ended(error=error))
            return
        self._counts["generated"] += 1
        self._scheduler.append(request, step.token)
        self._deliver(ticket, step)
        if step.reason is not None:
            self._end(ticket, Ended(reason=step.reason))

    def _score(self, ticket: Ticket, begin: int, n: int, logits: np.ndarray) -> None:
        """logits [n, n_vocab] after each of the tokens begin…begin + n of the prompt."""
        assert ticket.logprobs is not None
        sequence = ticket.sequence
        prompt = sequence.prompt
        for i, row in enumerate(logits, begin + 1):
            if not len(ticket.logprobs) <= i < len(prompt):  # scored before it had to wait again
                continue
            logprobs = log_softmax(np.asarray(row, np.float64))
            ticket.logprobs.append(float(logprobs[prompt[i]]))
            n_listed = sequence.settings.alternatives
            ticket.alternatives.append(likeliest(logprobs, n_listed, sequence.tokenizer))
        if len(ticket.logprobs) == len(prompt):
            scored = Scored(
                logprobs=tuple(ticket.logprobs), alternatives=tuple(ticket.alternatives)
            )
            ticket.logprobs = None
            self._deliver(ticket, scored)

    def _begin(self, ticket: Ticket) -> None:
        if ticket.began:
            return
        ticket.began = True
        self._counts["prompt"] += len(ticket.sequence.prompt)
        self._counts["cached"] += ticket.request.cached
        began = Began(sequence=ticket.sequence, cached_tokens=ticket.request.cached)
        self._deliver(ticket, began)

    def _end(self, ticket: Ticket, event: Ended) -> None:
        if ticket.ended:
            return
        ticket.ended = True
        self._scheduler.remove(ticket.request)
        self._tickets.pop(id(ticket.request), None)
        self._deliver(ticket, event)

    def _deliver(self, ticket: Ticket, event: Event) -> None:
        with self._timed("deliver"):
            try:
                ticket.deliver(event)
            except Exception:  # its client is gone: nobody else's matter
                if not isinstance(event, Ended):
                    self._end(ticket, Ended())

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - begin


def _strict(model: Model) -> Model:
    backend: Any = model.backend
    if backend.name == "native" and backend.weights == backend.keys == "float32":
        plain: Any = get_backend("numpy", threads=backend.threads)  # the same numbers
        machine = StrictBackend(plain)
        return Model.of(model.hparams, model.tensors(), machine)
    if backend.name != "numpy":
        raise InputError(f"strict is of the numpy backend; this model runs on {backend.name}")
    return replace(model, backend=StrictBackend(backend))


@contextmanager
def _one_thread_of_blas(gpt: GPT) -> Iterator[None]:
    """The numpy backend divides the work itself, and sets BLAS to one thread around each pass;
    two of them at once would give it back its threads in the middle of the other's."""
    if gpt.model.backend.name not in ("numpy", "native"):
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
