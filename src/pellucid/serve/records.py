"""What a client gets to see with each token: small values inline, the rest by the trace's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.packing import plain
from ..inspect.finding import highest
from ..taps import axes

if TYPE_CHECKING:
    from ..inspect import Recorder

__all__ = ["INLINE", "INLINE_IN_ALL", "Records"]

INLINE = 1024  # numbers of one record
INLINE_IN_ALL = 1 << 16  # of all records of a text
# Whose largest numbers are the highest; of others, those farthest from 0.
_RANKED = ("attn.qk", "attn.scores", "attn.pattern", "logits")


class Records:
    """Of one generation, as its recorder has them. top_k: of each value's last axis only so many,
    the largest."""

    def __init__(self, recorder: Recorder, top_k: int | None = None) -> None:
        self._recorder = recorder
        self._top_k = top_k
        self._room = INLINE_IN_ALL

    def take(self, position: int) -> dict[str, Any]:
        """The newest pass's record. position: its last one's.

        values: name -> axes, shape, values, and with top_k indices on the last axis. left_out:
        the names for which there was no room.
        """
        room = min(INLINE, self._room)
        values: dict[str, Any] = {}
        left_out = []
        for name, array in self._recorder.newest().items():
            entry, n = self._entry(name, array)
            if n > room:
                left_out.append(name)
                continue
            room -= n
            self._room -= n
            values[name] = entry()
        record: dict[str, Any] = {"position": position, "values": values}
        return record | ({"left_out": left_out} if left_out else {})

    def _entry(self, name: str, array: np.ndarray) -> tuple[Any, int]:
        """(what makes it, how many numbers it has)"""
        own = [
            axis
            for axis in axes(name, self._recorder.gpt.hparams)[1:]
            if axis not in ("position", "query")
        ]
        known: dict[str, Any] = {"axes": own, "shape": list(array.shape)}
        k = self._top_k
        if k is None or k >= array.shape[-1]:
            return lambda: known | {"values": plain(array)}, array.size

        def largest() -> dict[str, Any]:
            ranked = array if name.endswith(_RANKED) else np.abs(array)
            at = highest(np.nan_to_num(ranked, nan=-np.inf), k)
            return known | {
                "indices": at.tolist(),
                "values": plain(np.take_along_axis(array, at, -1)),
            }

        return largest, 2 * k * (array.size // array.shape[-1])
