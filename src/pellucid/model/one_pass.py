"""What stays the same from the first step of a forward pass to its last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..backend import Array, Backend
from ..cache import Cache
from ..hparams import HParams
from ..taps import Tap, untouched, wants

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

    past: tokens before the new ones, [1] or [batch], as the backend's ids.
    """

    hparams: HParams
    backend: Backend
    cache: Cache | None = None
    tap: Tap = untouched
    apply_block: ApplyBlock = plainly
    past: Array = field(init=False)

    def __post_init__(self) -> None:
        past = [0] if self.cache is None else self.cache.past
        object.__setattr__(self, "past", self.backend.ids(past))

    def wants(self, *names: str) -> bool:
        """Whether the tap must see one of these values, which the pass could do without."""
        return any(wants(self.tap, name) for name in names)
