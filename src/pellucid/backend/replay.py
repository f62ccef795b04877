"""A block asked again: what the page asks of the compiled kernels for a few rows is noted once, and
asked again without the page, all of a pass in one call. Same kernels, same numbers.

The page stays the only model: a block can be asked again only where all that it computed came from
the kernels themselves. Where anything else had a hand in it, the page is run each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import numpy as np
import pellucid_native as kernels

from .protocol import KeyValues, Norm, Turns

__all__ = ["FEW", "NO_NORM", "Replay"]

FEW = 8  # rows; with more of them the kernels take longer than the page
_MOST = 256  # blocks that are remembered
NO_NORM = (None, None, 0.0)
_UNTURNED = (None, None)
# These compute nothing of a block's: what is made with them is no kernel's, and no kernel's input.
_NO_HAND = ("asarray", "ids", "to_numpy")


# What a step of the kernels' program is, by their numbers.
_LINEAR, _ATTEND, _LAYER_NORM = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """program: the kernels' calls, with their arguments. n_new: of how many tokens keys and values
    are taken in. turns: what a pass is asked for to turn queries and keys by (`Pass.once`), if
    anything. x, out: where the block's input is expected and its output lies; both belong to it.
    w: its weights. then: the blocks that `out` was given to as it was, by whether they narrow."""

    program: Any
    n_new: int
    turns: tuple[Any, ...] | None
    x: np.ndarray
    out: np.ndarray
    w: Any
    then: dict[bool, _Block] = field(default_factory=dict)


class _Asked:
    """What one pass has asked for. last: the block that was noted last. ahead: the blocks that are
    computed already, the next one at the end."""

    def __init__(self, run: Any) -> None:
        self.last: _Block | None = None
        self.ahead: list[_Block] = []


class Replay:
    """The blocks of the native backend, by thread: in a pass that nobody watches, only the pass
    itself holds what lies between two blocks. Where it always gave a block's output to the next
    one, all that follow are computed with the first."""

    def __init__(self, machine: Any) -> None:
        self._machine = machine
        self._blocks: dict[tuple[Any, ...], _Block | None] = {}

    def __call__(
        self, block: Callable[..., np.ndarray], x: np.ndarray, w: Any, layer: int, run: Any
    ) -> np.ndarray:
        """block(x, w, layer, run), as `model.Pass.apply_block` is called."""
        if run.watched or run.cache is None or x.shape[0] * x.shape[1] > FEW:
            return block(x, w, layer, run)
        asked: _Asked = run.once(_Asked)
        if asked.ahead:
            done = asked.ahead.pop()
            if done.x is x and done.w is w:
                return done.out
            asked.ahead.clear()
        narrows = run.narrows(layer)
        key = (get_ident(), id(w), x.shape, narrows)
        known = self._blocks.get(key, self)
        if isinstance(known, _Block):
            if x is not known.x:
                np.copyto(known.x, x)
            asked.ahead = self._again(known, layer, run)
            return known.out
        if known is None:
            return block(x, w, layer, run)
        notes = _Notes(self._machine, x)
        out = block(x, w, layer, notes.begin(run))
        if len(self._blocks) >= _MOST:
            self._blocks.clear()
        noted = self._blocks[key] = notes.block(out, w)
        if noted is not None and asked.last is not None and asked.last.out is x:
            asked.last.then[narrows] = noted
        asked.last = noted
        return out

    def _again(self, first: _Block, layer: int, run: Any) -> list[_Block]:
        """Compute it and all that follow it -> those, the last one first."""
        blocks: list[_Block] = []
        due: list[tuple[Any, ...]] = []
        following: _Block | None = first
        while following is not None:
            blocks.append(following)
            turns = run.once(*following.turns) if following.turns else _UNTURNED
            due.append((following.program, run.cache.segments(layer, following.n_new), *turns))
            layer += 1
            following = following.then.get(run.narrows(layer)) if following.then else None
        kernels.again(self._machine.threads, due)
        return blocks[:0:-1]


class _Notes:
    """A backend for one block: computes as `machine` does, and notes what it was asked."""

    def __init__(self, machine: Any, x: np.ndarray) -> None:
        self._machine = machine
        self._x = x
        self._steps: list[tuple[Any, ...]] = []
        self._attended: list[tuple[int, tuple[Any, ...] | None]] = []  # n_new and turns of each
        self._roots = [_root(x)]  # where a kernel's input may come from
        self._run: Any = None
        self._closed = False

    def begin(self, run: Any) -> Any:
        """-> the pass, on this backend"""
        self._run = run.on(self)
        self._closed = True
        return self._run

    def block(self, out: np.ndarray, w: Any) -> _Block | None:
        """What was noted, or None where it is not all there is to the block."""
        self._run = None
        if not self._closed or not self._from_kernels(out) or len(self._attended) != 1:
            return None
        program = kernels.program(tuple(self._steps))
        ((n_new, turns),) = self._attended
        return _Block(program=program, n_new=n_new, turns=turns, x=self._x, out=out, w=w)

    def linear(
        self,
        x: np.ndarray,
        w: Any,
        *,
        norm: Norm | None = None,
        gelu: bool = False,
        swiglu: bool = False,
        add: np.ndarray | None = None,
    ) -> np.ndarray:
        out: np.ndarray = self._machine.linear(x, w, norm=norm, gelu=gelu, swiglu=swiglu, add=add)
        fixed = (w.bias, *(norm or NO_NORM), 2 if swiglu else gelu, add)
        self._note((_LINEAR, w.handle, x, out, *fixed), x, add)
        self._roots.append(_root(out))
        return out

    def layer_norm(
        self, x: np.ndarray, gain: np.ndarray, bias: np.ndarray | None, epsilon: float
    ) -> np.ndarray:
        out: np.ndarray = self._machine.layer_norm(x, gain, bias, epsilon)
        self._note((_LAYER_NORM, x, gain, bias, epsilon, out), x)
        self._roots.append(_root(out))
        return out

    def attend(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        cache: KeyValues | None,
        layer: int,
        turns: Turns | None = None,
        reach: int | None = None,
    ) -> np.ndarray:
        asked = None if turns is None else self._run.asked_by(turns)
        # Turns are of this pass's positions: another has to have its own. A band is not of the
        # kernels.
        self._closed = self._closed and (turns is None or asked is not None) and reach is None
        out: np.ndarray = self._machine.attend(q, k, v, cache, layer, turns, reach)
        self._attended.append((k.shape[2], asked))
        self._note((_ATTEND, q, k, v, out), q, k, v)
        self._roots.append(_root(out))
        return out

    def __getattr__(self, name: str) -> Any:
        self._closed = self._closed and name in _NO_HAND
        return getattr(self._machine, name)

    def _note(self, step: tuple[Any, ...], *inputs: np.ndarray | None) -> None:
        self._steps.append(step)
        for each in inputs:
            if each is None:
                continue
            in_rows = each.flags.c_contiguous or step[0] == _ATTEND
            readable = each.dtype == np.float32 and in_rows
            self._closed = self._closed and readable and self._from_kernels(each)

    def _from_kernels(self, array: np.ndarray) -> bool:
        root = _root(array)
        return any(root is each for each in self._roots)


def _root(array: np.ndarray) -> Any:
    """What owns an array's numbers."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
