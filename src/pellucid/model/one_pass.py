"""What stays the same from the first step of a forward pass to its last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from ..backend import Array, Backend, KeyValues
from ..errors import ContextError, InputError
from ..hparams import HParams
from ..taps import Tap, last_names, untouched

__all__ = ["ApplyBlock", "Pass", "plainly"]

# (block, x, w, layer, run) -> x. Training puts its wrapping of a block here, once.
ApplyBlock = Callable[[Callable[..., Array], Array, Any, int, "Pass"], Array]


def plainly(block: Callable[..., Array], x: Array, w: Any, layer: int, run: Pass) -> Array:
    """A block as it is: no sharding, no recomputation."""
    return block(x, w, layer, run)


@dataclass(frozen=True, slots=True)
class Pass:
    """backend: what computes. cache: what came before, and room for what is new. tap: sees every
    value, and what it returns is what the pass goes on with. apply_block: how a block is called.
    lengths: tokens per row where rows differ; what lies behind a row's length is padding. Padding
    at the end needs no mask: no earlier token sees it, and the cache drops it.
    last_only: only each row's last logits are asked for. only: or those at these positions, of
    every row.

    watched: whether there is a tap; where not, nothing needs to be asked of it.
    """

    hparams: HParams
    backend: Backend
    cache: KeyValues | None = None
    tap: Tap = untouched
    apply_block: ApplyBlock = plainly
    lengths: Any = None
    last_only: bool = False
    only: Any = None
    watched: bool = field(init=False)
    _asked: Callable[[str], bool] | None = field(init=False, repr=False)  # the tap's `wants`
    _made: dict[Any, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "watched", self.tap is not untouched)
        object.__setattr__(self, "_asked", getattr(self.tap, "wants", None))

    def on(self, backend: Backend) -> Pass:
        """The same pass on another backend."""
        return replace(self, backend=backend)

    @property
    def past(self) -> Array:
        """Tokens before the new ones, [1] or [batch], as the backend's ids."""
        return self.once(_past)

    def positions(self, new: int) -> Array:
        """Where in their texts the new tokens stand, [batch or 1, new]."""
        return self.once(_positions, new)

    def once(self, make: Callable[..., Any], *of: Hashable) -> Any:
        """make(run, *of), the same in every layer: made the first time that it is asked for. It
        depends on nothing but the pass and `of`, so that `asked_by` says how to have it of another
        pass."""
        key = (make, *of)
        if key not in self._made:
            self._made[key] = make(self, *of)
        return self._made[key]

    def asked_by(self, value: Any) -> tuple[Any, ...] | None:
        """What `once` was given when it returned this very value; None: it never did."""
        return next((key for key, made in self._made.items() if made is value), None)

    def check_room(self, tokens: Array) -> None:
        """Raises ContextError where the tokens [batch, position] do not fit the window, InputError
        where the cache holds another number of texts."""
        batch, new = tokens.shape
        if self.cache is None:
            if new > self.hparams.n_ctx:
                raise ContextError(
                    f"{new} tokens exceed the context window of n_ctx = {self.hparams.n_ctx}"
                )
            return
        if self.cache.batch != batch:
            raise InputError(
                f"the cache holds {self.cache.batch} sequences, the tokens are {batch}"
            )
        self.cache.check_room(new)

    def asked(self, x: Array) -> Array:
        """x [batch, position, n] -> the positions whose logits are asked for: all, those of `only`,
        or each row's last that is not padding, [batch, 1, n]."""
        if self.only is not None:
            return x[:, self.backend.ids(self.only)]
        if not self.last_only:
            return x
        if self.lengths is None:
            return x[:, -1:]
        rows = self.backend.ids(list(range(x.shape[0])))
        return x[rows, self.backend.ids(self.lengths) - 1][:, None]

    def wants(self, *names: str) -> bool:
        """Whether the tap must see one of these values, which the pass could do without."""
        return self.watched and (self._asked is None or any(map(self._asked, names)))

    def narrows(self, layer: int) -> bool:
        """Whether only the last position goes through the rest of this layer: it is the last one,
        only the last logits are asked for, and nobody watches the others."""
        if not self.last_only or self.lengths is not None or layer < self.hparams.n_layer - 1:
            return False
        return not (self.watched and self.wants(*last_names(self.hparams)))


def _past(run: Pass) -> Array:
    return run.backend.ids([0] if run.cache is None else run.cache.past)


def _positions(run: Pass, new: int) -> Array:
    own = [list(range(new))] if run.cache is None else run.cache.positions(new)
    return run.backend.ids(own)
