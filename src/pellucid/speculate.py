"""Lossless speculation: several tokens from one pass, and the same tokens as without it.

A pass over one token reads every weight once, and over a few it reads them once too. So what may
come next is drafted cheaply, all of it goes through the model at once, and each token is then
chosen from the model's own logits, as ever (`Sequence.take`); a draft counts as far as it agrees
with what was chosen. Seed and position alone decide a draw, so greedy or drawn the text is that of
plain generation, token by token (arXiv 2211.17192 needs a correction where drafts are drawn by
other dice; here there is nothing to correct). What may differ is the last bit of a logit, as
between any two batches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .errors import InputError

if TYPE_CHECKING:
    from .cache import Cache
    from .model import Model
    from .sequence import Sequence

__all__ = [
    "NOTHING",
    "Draft",
    "DraftModel",
    "Drafter",
    "Lookup",
    "Pace",
    "Speculated",
    "Speculation",
]


class Drafter(Protocol):
    """Who drafts."""

    def kind(self, sequence: Sequence) -> str | None:
        """What sort of draft there is for what follows; each sort has a record of its own. None
        where nothing is known."""

    def draft(self, sequence: Sequence, n: int) -> tuple[int, ...]:
        """At most n tokens that may follow, of the sort just named."""


class Lookup:
    """What followed when the text last ended so (prompt look-up; arXiv 2304.04487). It costs
    nothing, and knows quotations, names, tables, code.

    shortest, longest: of an ending, in tokens; the longest that was there before is taken.
    """

    def __init__(self, shortest: int = 1, longest: int = 4) -> None:
        if not 1 <= shortest <= longest:
            raise InputError(f"endings must be of 1 ≤ {shortest} ≤ {longest} tokens")
        self.shortest, self.longest = shortest, longest
        self._known: tuple[int, ...] = ()
        self._after: dict[tuple[int, ...], int] = {}  # an ending -> where it last went on
        self._circle: tuple[int, ...] = ()  # from there to the end

    def kind(self, sequence: Sequence) -> str | None:
        tokens = sequence.tokens
        self._learn(tokens)
        for length in range(min(self.longest, len(tokens)), self.shortest - 1, -1):
            begin = self._after.get(tokens[-length:])
            if begin is not None:
                self._circle = tokens[begin:]
                return f"ending of {length}"
        return None

    def draft(self, sequence: Sequence, n: int) -> tuple[int, ...]:
        # A draft that reaches the end goes on with itself: the text goes in circles.
        return tuple(self._circle[i % len(self._circle)] for i in range(n))

    def _learn(self, tokens: tuple[int, ...]) -> None:
        """The endings before each token that is there now."""
        if tokens[: len(self._known)] != self._known:  # another text, or another way
            self._known, self._after = (), {}
        for at in range(max(1, len(self._known)), len(tokens)):
            for length in range(self.shortest, min(self.longest, at) + 1):
                self._after[tokens[at - length : at]] = at
        self._known = tokens


class DraftModel:
    """A smaller model of the same vocabulary writes a few tokens ahead, by the same dice: where the
    two distributions agree the tokens do."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._cache: Cache | None = None
        self._held: tuple[int, ...] = ()  # what the cache holds

    def kind(self, sequence: Sequence) -> str | None:
        return "model" if sequence.n_tokens < self.model.hparams.n_ctx else None

    def draft(self, sequence: Sequence, n: int) -> tuple[int, ...]:
        tokens, prompt = sequence.tokens, sequence.prompt
        n = min(n, self.model.hparams.n_ctx - len(tokens))
        if self._cache is None:
            self._cache = self.model.new_cache()
        known = 0
        for held, token in zip(self._held, tokens[:-1], strict=False):
            if held != token:
                break
            known += 1
        self._cache.rewind(known)
        self._held = tokens[:known]
        whole = tokens
        sampling, unused = sequence.settings.sampling, sequence.tokenizer.unused
        for _ in range(n):
            logits = self.model.forward(whole[len(self._held) :], self._cache, last_only=True)
            self._held = whole
            row = self.model.backend.to_numpy(logits)[-1]
            token = sampling.choose(
                row, prompt, whole[len(prompt) :], sequence.seed, len(whole), unused
            )
            whole = (*whole, token)
        return whole[len(tokens) :]


class Draft(NamedTuple):
    """kind: as the drafter calls it. tokens: that may follow."""

    kind: str
    tokens: tuple[int, ...]


NOTHING = Draft("", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculated:
    """passes: of the model. drafted: tokens that went through it as drafts. accepted: those of them
    that the model itself chose."""

    passes: int = 0
    drafted: int = 0
    accepted: int = 0

    def plus(self, drafted: int, accepted: int) -> Speculated:
        """After one more pass."""
        return Speculated(
            passes=self.passes + 1,
            drafted=self.drafted + drafted,
            accepted=self.accepted + accepted,
        )


class Pace:
    """How far to draft: as far as it pays, measured.

    Per kind of draft the share of tokens that are accepted, of late; the seconds of passes by their
    number of rows; and the seconds of drafting a token. `length` weighs them: tokens expected from
    a pass by the time that it takes. Where no draft pays it rests, and tries again now and then.
    """

    _FORGET = 0.9  # what a record weighs after one more pass
    _GUESS = 0.1  # what one more row adds to a pass, as a share, before it was measured
    _STALE = 256  # passes after which a measured time is forgotten
    _PLAIN_EVERY = 32  # passes, of which one is plain, so that its time is known

    def __init__(self, most: int) -> None:
        self.most = most
        self._seconds: dict[int, tuple[float, int]] = {}  # rows -> a pass of so many, when measured
        self._drafting = 0.0  # seconds a token
        self._records: dict[str, tuple[float, float]] = {}  # kind -> accepted, tried
        self._resting: dict[str, int] = {}  # kind -> passes until it is tried again
        self._rests: dict[str, int] = {}  # kind -> how long it rested last
        self._passes = 0

    def length(self, kind: str) -> int:
        """Tokens of a draft of this kind to put through the model; 0 where it rests."""
        self._passes += 1
        if self._passes % self._PLAIN_EVERY == 1:
            return 0
        if kind in self._resting:
            self._resting[kind] -= 1
            if self._resting[kind]:
                return 0
            del self._resting[kind]
            self._records[kind] = (0.3, 2.0)  # what it was counts for little now
            return min(2, self.most)
        share = self._share(kind)
        rates = []
        for n in range(self.most + 1):
            expected = sum(share**i for i in range(n + 1))
            rates.append(expected / (self._pass(n + 1) + n * self._drafting))
        best = max(range(self.most + 1), key=rates.__getitem__)
        if best:
            self._rests.pop(kind, None)
            return best
        rest = min(64, 2 * self._rests.get(kind, 4))
        self._rests[kind] = self._resting[kind] = rest
        return 0

    def drafted(self, tokens: int, seconds: float) -> None:
        if tokens:
            self._drafting += 0.2 * (seconds / tokens - self._drafting)

    def passed(self, rows: int, seconds: float) -> None:
        """A pass of so many rows took so long. The shortest of late counts: what else runs on the
        machine only adds."""
        before, _ = self._seconds.get(rows, (seconds, 0))
        self._seconds[rows] = min(seconds, 1.1 * before), self._passes

    def judged(self, kind: str, tried: int, accepted: int) -> None:
        """So many drafted tokens were accepted of those tried; none after the first refused one."""
        hits, tries = self._records.get(kind, (1.0, 2.0))
        looked_at = accepted + (accepted < tried)
        self._records[kind] = (
            hits * self._FORGET + accepted,
            tries * self._FORGET + looked_at,
        )

    def _share(self, kind: str) -> float:
        hits, tries = self._records.get(kind, (1.0, 1.5))
        return min(0.98, hits / tries)

    def _pass(self, rows: int) -> float:
        """Seconds of a pass of so many rows: measured of late, or between the measured ones."""
        known = {
            each: seconds
            for each, (seconds, at) in self._seconds.items()
            if self._passes - at < self._STALE
        }
        if rows in known:
            return known[rows]
        below = max((each for each in known if each < rows), default=None)
        above = min((each for each in known if each > rows), default=None)
        if below is None or above is None:  # as a guess has it, from the nearest one on
            near = above if below is None else below
            return self._guess(rows) * (known[near] / self._guess(near) if near is not None else 1)
        part = (rows - below) / (above - below)
        return known[below] + part * (known[above] - known[below])

    def _guess(self, rows: int) -> float:
        return 1 + self._GUESS * (rows - 1)


class Speculation:
    """drafter: who drafts. most: tokens of a draft. adaptive: as many as pay, by what was measured
    (`Pace`), else always `most`. One object may serve one generation after the other. `advance`
    is a whole pass; who runs the passes calls `draft`, `passed` and `judged`.

    Raises InputError for a length out of range.
    """

    def __init__(self, drafter: Drafter, most: int = 8, *, adaptive: bool = True) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 64:
            raise InputError(f"a draft is of 1 to 64 tokens, not {most!r}")
        self.drafter = drafter
        self.most = most
        self._pace = Pace(most) if adaptive else None

    def draft(self, sequence: Sequence) -> Draft:
        """What may follow, as long as it pays and as there is room for; the pass itself gives one
        token more."""
        kind = self.drafter.kind(sequence)
        if kind is None:
            return NOTHING
        n = self.most if self._pace is None else self._pace.length(kind)
        n = min(n, sequence.most_tokens - sequence.n_tokens - 1)
        if n < 1:
            return NOTHING
        begin = time.perf_counter()
        tokens = self.drafter.draft(sequence, n)
        if self._pace is not None:
            self._pace.drafted(len(tokens), time.perf_counter() - begin)
        return Draft(kind, tokens)

    def passed(self, draft: Draft, seconds: float) -> None:
        """The pass over a token and this draft, or none, took so long."""
        if self._pace is not None:
            self._pace.passed(1 + len(draft.tokens), seconds)

    def judged(self, draft: Draft, accepted: int) -> None:
        """So many of its tokens were what the model chose."""
        if self._pace is not None and draft.tokens:
            self._pace.judged(draft.kind, len(draft.tokens), accepted)

    def advance(self, sequence: Sequence, model: Model, cache: Cache) -> tuple[int, int]:
        """One pass over what the cache lacks of the sequence and a draft of what follows; the steps
        that come of it are taken. -> tokens drafted, and accepted. The cache then holds all but
        the last token."""
        lacking = sequence.since(cache.length)
        draft = self.draft(sequence) if len(lacking) == 1 else NOTHING  # not beside a prompt
        n = len(draft.tokens)
        begin = time.perf_counter()
        fed = (*lacking, *draft.tokens)
        asked = {"only": range(len(fed) - n - 1, len(fed))} if n else {"last_only": True}
        rows = model.backend.to_numpy(model.forward(fed, cache, **asked))  # [1 + n, n_vocab]
        if len(lacking) == 1:
            self.passed(draft, time.perf_counter() - begin)
        accepted = 0
        try:
            for i, row in enumerate(rows):
                step = sequence.take(row)
                if i == n or step.token != draft.tokens[i]:
                    break
                accepted += 1
                if step.reason is not None:
                    break
        finally:
            cache.rewind(min(cache.length, sequence.n_tokens - 1))
        self.judged(draft, accepted)
        return n, accepted
