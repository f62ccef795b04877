"""Every value of a forward pass or of a generation, kept: at a stated cost, within a budget."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..generate import Generation
from ..hparams import HParams
from ..taps import (
    TAPS,
    axes,
    canonical_name,
    layer_of,
    table_name,
    tap_names,
    transformer_lens_name,
)
from .finding import Finding, chosen, read

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = [
    "BUDGET",
    "Cost",
    "Recorder",
    "Trace",
    "estimate",
    "select",
    "size",
    "trace",
]

BUDGET = 1 << 30  # bytes that a trace may take unless another budget is given
_ON_REQUEST = ("attn.result",)  # large, and not needed by the model: only when asked for by name
_FORMAT = "pellucid trace 1"
# What a step of a generation has for keys that came after it; qk was never computed there.
_LATER_KEYS = {"qk": np.nan, "scores": -np.inf, "pattern": 0.0}

_Names = str | Iterable[str]
_Indices = int | Iterable[int] | None


# Names


def select(hparams: HParams, names: _Names = "*", layers: _Indices = None) -> list[str]:
    """The tap names that patterns choose, in the order in which they are reached.

    names: patterns with `*` and `?`, for the whole name ("blocks.3.attn.q"), for what follows
    the layer ("attn.q": in every layer) or for TransformerLens's name. `attn.result` is
    included only where a pattern spells out "result".
    layers: only these; values outside the layers (embed, logits) are then left out, unless
    a pattern is their very name. Raises InputError when a pattern matches nothing.
    """
    patterns = [names] if isinstance(names, str) else list(names)
    within = set(chosen(layers, hparams.n_layer, "layer"))
    found: set[str] = set()
    for pattern in patterns:
        matching = [name for name in tap_names(hparams) if _matches(name, pattern)]
        if not matching:
            known = ", ".join(name.removeprefix("blocks.{i}.") for name in TAPS)
            raise InputError(f"no value is called {pattern!r}; there are {known}")
        for name in matching:
            layer = layer_of(name)
            if layers is None or layer in within or (layer is None and pattern == name):
                found.add(name)
    return [name for name in tap_names(hparams) if name in found]


def _matches(name: str, pattern: str) -> bool:
    within_layer = table_name(name).removeprefix("blocks.{i}.")
    if within_layer in _ON_REQUEST and "result" not in pattern:
        return False
    known = (name, within_layer, transformer_lens_name(name) or name)
    return any(fnmatchcase(each, pattern) for each in known)


def _position_axis(axes: tuple[str, ...]) -> int:
    return axes.index("query" if "query" in axes else "position")


# What it costs


@dataclass(frozen=True, slots=True)
class Cost(Finding):
    """What a trace takes. by_value: bytes per kind of value, all layers together, largest first."""

    n_values: int
    n_bytes: int
    by_value: dict[str, int]

    def check(self, budget_bytes: int) -> None:
        """Raises InputError when it is over the budget."""
        if self.n_bytes <= budget_bytes:
            return
        largest = ", ".join(f"{k} {size(v)}" for k, v in list(self.by_value.items())[:3])
        raise InputError(
            f"recording {self.n_values} values takes {size(self.n_bytes)}, more than the budget "
            f"of {size(budget_bytes)} (largest: {largest}): choose fewer with names, layers, "
            f"heads or positions, or raise the budget (budget_bytes)"
        )


def estimate(
    gpt: GPT,
    text: str | Sequence[int] | int,
    names: _Names = "*",
    *,
    layers: _Indices = None,
    heads: _Indices = None,
    positions: _Indices = None,
) -> Cost:
    """What `trace` with the same arguments would take, without running anything.

    text: a text, ids, or a number of tokens.
    """
    n_tokens = text if isinstance(text, int) else len(gpt.encode(text))
    n_head = len(chosen(heads, gpt.hparams.n_head, "head"))
    n = len(chosen(positions, n_tokens, "position"))
    return _cost(gpt, select(gpt.hparams, names, layers), n_head, n, n_tokens, n)


def _cost(
    gpt: GPT, names: list[str], n_head: int, n_position: int, n_key: int, n_logits: int
) -> Cost:
    """n_logits: positions whose logits are computed."""
    hparams = gpt.hparams
    itemsize = int(gpt.model.backend.zeros((1,)).itemsize)
    lengths = {
        "position": n_position,
        "query": n_position,
        "key": n_key,
        "head": n_head,
        "d_k": hparams.d_k,
        "n_embd": hparams.n_embd,
        "4 · n_embd": 4 * hparams.n_embd,
        "n_vocab": hparams.n_vocab,
    }
    by_value: dict[str, int] = {}
    for name in names:
        numbers = 1
        for axis in axes(name)[1:]:
            many = n_logits if name == "logits" and axis == "position" else lengths.get(axis, 1)
            numbers *= many
        kind = table_name(name).removeprefix("blocks.{i}.")
        by_value[kind] = by_value.get(kind, 0) + numbers * itemsize
    ranked = dict(sorted(by_value.items(), key=lambda item: -item[1]))
    return Cost(len(names), sum(by_value.values()), ranked)


def size(n_bytes: int) -> str:
    """As people say it: 1.5 MiB."""
    n, unit = float(n_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if n < 1024:
            break
        n, unit = n / 1024, larger
    return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"


# What is kept


@dataclass(frozen=True, eq=False)
class Trace(Finding, Mapping[str, np.ndarray]):
    """The values of one text, by name: ours or TransformerLens's.

    arrays: as the model makes them (see `pellucid.TAPS`) without the batch axis. Each position
    axis ("position", "query") runs over `positions`, each head axis over `heads`; keys are all.
    ids, tokens: the whole text.
    """

    arrays: dict[str, np.ndarray] = field(repr=False)
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    positions: tuple[int, ...]
    heads: tuple[int, ...]
    hparams: HParams

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[canonical_name(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    __eq__ = object.__eq__  # a Mapping would compare arrays, which have no one truth
    __hash__ = object.__hash__

    @property
    def n_bytes(self) -> int:
        return sum(value.nbytes for value in self.arrays.values())

    def axes(self, name: str) -> tuple[str, ...]:
        """What the axes of a value are: ("head", "query", "key")."""
        return axes(canonical_name(name))[1:]

    def narrowed(
        self,
        names: _Names = "*",
        *,
        layers: _Indices = None,
        heads: _Indices = None,
    ) -> Trace:
        """The same with fewer values: those named (see `select`), of these heads.

        Raises InputError when none is left, or for a head that was not recorded.
        """
        patterns = [names] if isinstance(names, str) else list(names)
        named = set(
            select(self.hparams, [*patterns, "*result"] if "*" in patterns else patterns, layers)
        )
        wanted = self.heads if heads is None else chosen(heads, self.hparams.n_head, "head")
        if missing := [head for head in wanted if head not in self.heads]:
            raise InputError(f"head {missing[0]} was not recorded; there are {list(self.heads)}")
        which = [self.heads.index(head) for head in wanted]
        kept = {}
        for name, value in self.arrays.items():
            if name in named:
                own = self.axes(name)
                kept[name] = value.take(which, own.index("head")) if "head" in own else value
        if not kept:
            raise InputError(f"none of these values was recorded; there are {', '.join(self)}")
        return Trace(kept, self.ids, self.tokens, self.positions, tuple(wanted), self.hparams)

    def save(self, path: str | Path) -> None:
        """To one safetensors file, names and tokens included."""
        from safetensors.numpy import save_file

        about = {
            "format": _FORMAT,
            "ids": json.dumps(self.ids),
            "tokens": json.dumps(self.tokens),
            "positions": json.dumps(self.positions),
            "heads": json.dumps(self.heads),
            "hparams": json.dumps(self.hparams.to_dict()),
        }
        arrays = {name: np.ascontiguousarray(value) for name, value in self.arrays.items()}
        save_file(arrays, str(path), metadata=about)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """From a file that `save` wrote. Raises InputError for any other."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                about = file.metadata() or {}
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} cannot be read as a trace: {error}") from error
        if about.get("format") != _FORMAT:
            raise InputError(f"{path} is a safetensors file, but not a trace that Pellucid saved")
        try:
            ids, tokens, positions, heads = (
                tuple(json.loads(about[key])) for key in ("ids", "tokens", "positions", "heads")
            )
            hparams = HParams.from_dict(json.loads(about["hparams"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is a damaged trace: {error}") from error
        order = [name for name in tap_names(hparams) if name in values]
        kept = {name: values[name] for name in order}
        return cls(kept, ids, tokens, positions, heads, hparams)

    def to_activation_cache(self, model: Any = None) -> Any:
        """As TransformerLens's ActivationCache (torch tensors under its names, no batch axis).

        model: the HookedTransformer or TransformerBridge that its methods shall use, if any.
        Raises InputError when TransformerLens is not installed.
        """
        try:
            import torch
            from transformer_lens import ActivationCache  # type: ignore[import-not-found]
        except ImportError as error:
            raise InputError(
                "an ActivationCache needs TransformerLens: pip install transformer-lens"
            ) from error
        named = {transformer_lens_name(name): value for name, value in self.arrays.items()}
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in named.items() if name}
        return ActivationCache(tensors, model, has_batch_dim=False)


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
        names: _Names = "*",
        *,
        layers: _Indices = None,
        heads: _Indices = None,
        positions: _Indices = None,
        budget_bytes: int = BUDGET,
    ) -> None:
        self.gpt = gpt
        self._ordered = select(gpt.hparams, names, layers)
        self.names = frozenset(self._ordered)
        self.heads = None if heads is None else chosen(heads, gpt.hparams.n_head, "head")
        self.positions = None
        if positions is not None:
            self.positions = (positions,) if isinstance(positions, int) else tuple(positions)
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
        return _cost(self.gpt, self._ordered, n_head, n_row, n_fed, n_logits)

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
        found = [i + n if i < 0 else i - start for i in self.positions]
        rows = list(dict.fromkeys(i for i in found if 0 <= i < n))
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
                Cost(len(self.names), self.n_bytes + int(kept.nbytes), {name: kept.nbytes}).check(
                    self.budget_bytes
                )
            self.passes[-1][name] = kept
        return value

    def _narrow(self, name: str, value: Array) -> Array:
        """Only the heads and positions asked for, copied, so that the rest can be freed."""
        own, ids = axes(name), self.gpt.model.backend.ids
        if self.heads is not None and "head" in own:
            value = value[(slice(None),) * own.index("head") + (ids(self.heads),)]
        if self.positions is not None:
            axis = _position_axis(own)
            here = self._rows(self._starts[-1], self._n_tokens[-1], value.shape[axis])
            value = value[(slice(None),) * axis + (ids(here),)]
        return value

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
            own = axes(name)[1:]
            if "key" in own and len(parts) > 1:
                later = _LATER_KEYS[name.split(".")[-1]]
                parts = [_widened(part, parts[-1].shape[-1], later) for part in parts]
            values[name] = np.concatenate(parts, _position_axis(own)) if parts[1:] else parts[0]
        return Trace(
            values,
            tuple(ids),
            tuple(self.gpt.tokenizer.decode([token]) for token in ids),
            tuple(kept),
            self.heads or tuple(range(self.gpt.hparams.n_head)),
            self.gpt.hparams,
        )


def _widened(part: np.ndarray, n_key: int, fill: float) -> np.ndarray:
    """[..., key] -> [..., n_key]: later keys, which this pass could not see"""
    missing = [(0, 0)] * (part.ndim - 1) + [(0, n_key - part.shape[-1])]
    return np.pad(part, missing, constant_values=fill)


def trace(
    gpt: GPT,
    text: str | Sequence[int],
    names: _Names = "*",
    *,
    layers: _Indices = None,
    heads: _Indices = None,
    positions: _Indices = None,
    budget_bytes: int = BUDGET,
) -> Trace:
    """Run a text (or ids) through the model and keep the values named.

    names, layers: see `select`. heads, positions: only these. What it takes is known before it
    runs (`estimate`); over the budget it raises InputError that says how to narrow it.
    """
    ids, _ = read(gpt, text)
    where = None if positions is None else chosen(positions, len(ids), "position")
    estimate(gpt, ids, names, layers=layers, heads=heads, positions=where).check(budget_bytes)
    recorder = Recorder(
        gpt, names, layers=layers, heads=heads, positions=where, budget_bytes=budget_bytes
    )
    gpt.forward([ids], tap=recorder)
    return recorder._join(ids)
