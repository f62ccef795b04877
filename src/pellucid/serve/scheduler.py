"""Which texts go through the model next, and how many tokens of each. No arrays, no clock.

Requests join and leave at any step (continuous batching). A long prompt goes through in pieces
beside the others' single tokens, so that it does not make them wait. Keys and values are kept in
blocks: what two texts begin with alike is computed once, also while the first is still being
read. When blocks run out, the request that joined last gives its own back and waits again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..errors import PellucidError

if TYPE_CHECKING:
    from ..blocks import BlockPool

__all__ = ["Full", "Request", "Scheduler", "Turn"]


class Full(PellucidError):
    """As many requests wait as may."""


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """tokens: the prompt and what was generated. client: whose; clients take turns. salt: with
    whom its blocks may be shared. whole: every token's logits are asked for, so none may come
    from the cache.

    blocks: its own and shared ones, in order. computed: tokens whose keys and values they hold.
    cached: tokens that it did not have to compute when it joined.
    """

    tokens: list[int]
    client: str = ""
    salt: Hashable = None
    whole: bool = False
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    cached: int = 0

    @property
    def missing(self) -> int:
        """Tokens to compute before the next one can be chosen."""
        return len(self.tokens) - self.computed


class Turn(NamedTuple):
    """The next n tokens of a request go through the model."""

    request: Request
    n: int


class Scheduler:
    """pool: the blocks. max_running: requests that advance together. max_waiting: requests that
    wait for that. chunk: tokens of prompts in one pass beside other streams; four times as many
    where nobody waits for a token.

    plan() -> the turns of one pass; after it, for each turn: computed(...), then append(...) or
    remove(...) where its last token went through.
    """

    def __init__(self, pool: BlockPool, *, max_running: int, max_waiting: int, chunk: int) -> None:
        self.pool = pool
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.chunk = chunk
        self.running: list[Request] = []  # in the order in which they joined
        self._waiting: OrderedDict[str, deque[Request]] = OrderedDict()  # by client

    @property
    def n_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def idle(self) -> bool:
        return not self.running and not self._waiting

    def requests(self) -> Iterator[Request]:
        """All that run or wait."""
        yield from self.running
        for queue in self._waiting.values():
            yield from queue

    def waiting(self) -> Iterator[Request]:
        """Those that wait, in the order in which they would join: clients in turn."""
        queues = list(self._waiting.values())
        for place in range(max(map(len, queues), default=0)):
            yield from (queue[place] for queue in queues if place < len(queue))

    def add(self, request: Request) -> None:
        """Raises Full where it would be one too many."""
        if self.n_waiting >= self.max_waiting:
            raise Full(f"{self.max_waiting} requests are waiting already; try again later")
        self._waiting.setdefault(request.client, deque()).append(request)

    def remove(self, request: Request) -> None:
        """It has ended, or was given up; what it computed may serve others."""
        if request in self.running:
            self.running.remove(request)
        elif request in (queue := self._waiting.get(request.client, deque())):
            queue.remove(request)
            if not queue:
                del self._waiting[request.client]
        self._give_back(request)

    def plan(self) -> list[Turn]:
        """Every stream's next token, and pieces of prompts, the oldest first."""
        streams = sum(request.missing == 1 for request in self.running)
        left = self.chunk if streams else 4 * self.chunk
        turns: list[Turn] = []
        for request in list(self.running):
            n = 1 if request.missing == 1 else min(request.missing, left)
            if n and request in self.running and self._make_room(request, n):
                turns.append(Turn(request, n))
                left -= n if request.missing > 1 else 0
        while left > 0 and len(self.running) < self.max_running:
            joined = self._join(left)
            if joined is None:
                break
            turns.append(joined)
            left -= joined.n
        return turns

    def computed(self, request: Request, n: int) -> None:
        """So many more of its tokens went through the model."""
        size, before = self.pool.block_size, request.computed
        request.computed += n
        for full in range(before // size + 1, request.computed // size + 1):
            self.pool.remember(request.blocks[:full], request.tokens, request.salt)

    def append(self, request: Request, token: int) -> None:
        """The token that was chosen; it goes through the model next."""
        request.tokens.append(token)

    # Who joins

    def _join(self, left: int) -> Turn | None:
        """The next request, clients in turn, that may join now; its first tokens."""
        for client in list(self._waiting):
            request = self._waiting[client][0]
            if self._is_being_read(request):
                continue
            if not request.whole:
                request.blocks = self.pool.match(request.tokens, request.salt)
            request.computed = len(request.blocks) * self.pool.block_size
            # Room for its whole prompt, and for one more block of everyone.
            needed = -(-request.missing // self.pool.block_size) + len(self.running)
            n = min(request.missing, left)
            if (self.running and needed > self.pool.n_available) or not self.grow(request, n):
                self._give_back(request)
                return None
            request.cached = max(request.cached, request.computed)
            self._waiting[client].popleft()
            if self._waiting[client]:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            self.running.append(request)
            return Turn(request, n)
        return None

    def _is_being_read(self, request: Request) -> bool:
        """Whether another request is just computing how this one begins: then it can share."""
        if request.whole:
            return False
        size = self.pool.block_size
        for other in self.running:
            if other.missing <= 1 or other.salt != request.salt:
                continue
            end = min(len(request.tokens) - 1, len(other.tokens)) // size * size
            begin = other.computed // size * size
            if end > begin and request.tokens[: begin + size] == other.tokens[: begin + size]:
                return True
        return False

    # Room

    def _make_room(self, request: Request, n: int) -> bool:
        """Blocks for n more tokens; the requests that joined last give theirs back for it.
        False where the request itself was the one to go."""
        while not self.grow(request, n):
            last = self.running.pop()
            self._give_back(last)
            self._waiting.setdefault(last.client, deque()).appendleft(last)
            self._waiting.move_to_end(last.client, last=False)
            if last is request:
                return False
        return True

    def grow(self, request: Request, n: int) -> bool:
        """Blocks for n more tokens; False where there are not so many."""
        while len(request.blocks) * self.pool.block_size < request.computed + n:
            block = self.pool.take(request.blocks[-1] if request.blocks else None)
            if block is None:
                return False
            request.blocks.append(block)
        return True

    def _give_back(self, request: Request) -> None:
        self.pool.release(request.blocks)
        request.blocks = []
        request.computed = 0
