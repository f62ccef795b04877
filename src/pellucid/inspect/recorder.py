"""The tap that keeps what passes: of one pass, of a generation, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..generate import Generation
from ..taps import axes
from .cost import BUDGET, Cost, Indices, Names, cost_of, estimate, select
from .finding import chosen, read, token_names, whole
from .traces import Trace

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["Recorder", "trace"]

# What a step of a generation has for keys that came after it; qk was never computed there.
_LATER_KEYS = {"qk": np.nan, "scores": -np.inf, "pattern": 0.0}


def _position_axis(axes: tuple[str, ...]) -> int:
    return axes.index("query" if "query" in axes else "position")


class Recorder:
    """A tap that keeps what passes: of any pass of one text, or of a generation with
    `generate(…, record=recorder)`, also in chat, where it holds the newest reply.

    names, layers: see `select`. heads: only these. positions: only these; negative ones count
    from each pass's end (-1: each step's newest). With `record=` the others count from the
    window's beginning, with `tap=` from each pass's.
    passes: per forward pass, name → the backend's own array, batch axis included;
    whole values are kept as they are, not copied.
    Raises InputError when the budget would be exceeded: before the generation runs with
    `record=`, else before the value that is too much is kept.
    """

    def __init__(
        self,
        gpt: GPT,
        names: Names = "*",
        *,
        layers: Indices = None,
        heads: Indices = None,
        positions: Indices = None,
        budget_bytes: int = BUDGET,
    ) -> None:
        self.gpt = gpt
        self._ordered = select(gpt.hparams, names, layers)
        self.names = frozenset(self._ordered)
        self.heads = None if heads is None else chosen(heads, gpt.hparams.n_head, "head")
        self.positions = None
        if positions is not None:
            self.positions = (positions,) if isinstance(positions, int) else tuple(positions)
        self._places = frozenset(self.positions or ())
        self.budget_bytes = budget_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything recorded so far."""
        self.passes: list[dict[str, Array]] = []
        self.n_bytes = 0
        self._n_tokens: list[int] = []
        self._starts: list[int] = []
        self._start = 0  # of the next pass; only `resume` moves it

    def begin(self, n_known: int, n_prompt: int, n_tokens: int) -> None:
        """A generation is about to run: up to n_tokens, of which n_prompt are the prompt and
        n_known need no pass any more. Forgets what was recorded.

        Raises InputError when that would take more than the budget.
        """
        self.clear()
        self.cost(n_known, n_prompt, n_tokens).check(self.budget_bytes)

    def cost(self, n_known: int, n_prompt: int, n_tokens: int) -> Cost:
        """What such a generation's trace takes at most; see `begin`."""
        n_fed = max(n_known, n_tokens - 1)  # the last token is not fed back in
        n_step = max(0, n_tokens - n_prompt)
        n_row, n_logits = n_fed - n_known, n_step
        if self.positions is not None:
            passes = [(n_known, n_prompt - n_known), *((i, 1) for i in range(n_prompt, n_fed))]
            n_row = sum(len(self._rows(start, n)) for start, n in passes)
            n_logits = sum(len(self._rows(start, n, 1)) for start, n in passes)
        n_head = self.gpt.hparams.n_head if self.heads is None else len(self.heads)
        return cost_of(self.gpt, self._ordered, n_head, n_row, n_fed, n_logits)

    def resume(self, position: int) -> None:
        """The next pass begins there; what a pass that was broken off left is dropped."""
        while self._starts and self._starts[-1] >= position:
            self._drop()
        self._start = position

    def _drop(self) -> None:
        self._starts.pop()
        self._n_tokens.pop()
        self.n_bytes -= sum(value.nbytes for value in self.passes.pop().values())

    def _rows(self, start: int, n: int, size: int | None = None) -> list[int]:
        """Which rows of a pass over n tokens are kept; size: the rows that a value has, 1 where
        only the last one's logits are computed."""
        if self.positions is None:
            return list(range(n if size is None else size))
        if n == 1:  # of each generated token: many passes, and maybe many positions
            return [0] if start in self._places or -1 in self._places else []
        asked = [i + n if i < 0 else i - start for i in self.positions]
        rows = list(dict.fromkeys(i for i in asked if 0 <= i < n))
        if size is None or size == n:
            return rows
        return [0] if n - 1 in rows else []

    def wants(self, name: str) -> bool:
        return name in self.names

    def __call__(self, name: str, value: Array) -> Array:
        if name == "embed":  # the first value of every pass
            self.passes.append({})
            self._n_tokens.append(value.shape[1])
            self._starts.append(self._start)
        if name in self.names:
            kept = value
            if self.heads is not None or self.positions is not None:
                kept = self._narrow(name, value)
            self.n_bytes += kept.nbytes
            if self.n_bytes > self.budget_bytes:
                self.n_bytes -= kept.nbytes
                Cost(
                    n_values=len(self.names),
                    n_bytes=self.n_bytes + int(kept.nbytes),
                    by_value={name: kept.nbytes},
                ).check(self.budget_bytes)
            self.passes[-1][name] = kept
        return value

    def _narrow(self, name: str, value: Array) -> Array:
        """Only the heads and positions asked for, copied, so that the rest can be freed."""
        own, ids = axes(name, self.gpt.hparams), self.gpt.model.backend.ids
        if self.heads is not None and "head" in own:
            value = value[(slice(None),) * own.index("head") + (ids(self.heads),)]
        if self.positions is not None:
            axis = _position_axis(own)
            here = self._rows(self._starts[-1], self._n_tokens[-1], value.shape[axis])
            value = value[(slice(None),) * axis + (ids(here),)]
        return value

    def newest(self) -> dict[str, np.ndarray]:
        """Of the newest pass the last position's row of each value, without the batch and position
        axes; nothing where that position is not kept. "logits" is what follows it."""
        n, rows = self._n_tokens[-1], self._rows(self._starts[-1], self._n_tokens[-1])
        if n - 1 not in rows:
            return {}
        row, to_numpy = rows.index(n - 1), self.gpt.model.backend.to_numpy
        newest = {}
        for name, value in self.passes[-1].items():
            own = axes(name, self.gpt.hparams)
            axis = _position_axis(own)
            at = row if value.shape[axis] == len(rows) else 0  # 0: one row is computed
            newest[name] = np.asarray(to_numpy(value).take(at, axis)[0])
        return newest

    def trace(self, generation: Generation) -> Trace:
        """What was recorded of one generation, its passes put together along the positions.

        The last token is not among the positions: it has not been fed back in. "logits" has
        one row per pass: those that a token was chosen from.
        Raises InputError when the recorder has seen other passes, too.
        """
        n_fed = len(generation.tokens) - 1
        while self._starts and self._start and sum(self._n_tokens[-1:]) + self._starts[-1] > n_fed:
            self._drop()  # broken off before its token was chosen
        start = n_fed - sum(self._n_tokens)
        if not self.passes or start < 0:
            raise InputError(
                "the recorder has seen no pass, or passes of more than this generation: run the "
                "generation first, and give each one a recorder of its own (or clear it)"
            )
        return self._join(generation.tokens, start)

    def _join(self, ids: Sequence[int], start: int = 0) -> Trace:
        kept: list[int] = []
        for known, n in zip(self._starts, self._n_tokens, strict=True):
            kept += [start + i for i in self._rows(known, n)]
            start += n
        to_numpy = self.gpt.model.backend.to_numpy
        values = {}
        for name in self.passes[0]:
            parts = [to_numpy(one[name])[0] for one in self.passes]
            own = axes(name, self.gpt.hparams)[1:]
            if "key" in own and len(parts) > 1:
                later = _LATER_KEYS[name.split(".")[-1]]
                parts = [_widened(part, parts[-1].shape[-1], later) for part in parts]
            values[name] = np.concatenate(parts, _position_axis(own)) if parts[1:] else parts[0]
        return Trace(
            arrays=values,
            ids=tuple(ids),
            tokens=token_names(self.gpt, ids),
            text=whole(self.gpt, ids),
            positions=tuple(kept),
            heads=self.heads or tuple(range(self.gpt.hparams.n_head)),
            hparams=self.gpt.hparams,
        )


def _widened(part: np.ndarray, n_key: int, fill: float) -> np.ndarray:
    """[..., key] -> [..., n_key]: later keys, which this pass could not see"""
    missing = [(0, 0)] * (part.ndim - 1) + [(0, n_key - part.shape[-1])]
    return np.pad(part, missing, constant_values=fill)


def trace(
    gpt: GPT,
    text: str | Sequence[int],
    names: Names = "*",
    *,
    layers: Indices = None,
    heads: Indices = None,
    positions: Indices = None,
    budget_bytes: int = BUDGET,
) -> Trace:
    """Run a text (or ids) through the model and keep the values named.

    names, layers: see `select`. heads, positions: only these. What follows the last position
    asked for is not run: it is no key either. What it takes is known before it runs (`estimate`);
    over the budget it raises InputError that says how to narrow it.
    """
    ids, _ = read(gpt, text)
    places = None if positions is None else chosen(positions, len(ids), "position")
    estimate(gpt, ids, names, layers=layers, heads=heads, positions=places).check(budget_bytes)
    recorder = Recorder(
        gpt, names, layers=layers, heads=heads, positions=places, budget_bytes=budget_bytes
    )
    seen = ids if places is None else ids[: max(places, default=0) + 1]
    gpt.forward([seen], tap=recorder)
    return recorder._join(ids)
