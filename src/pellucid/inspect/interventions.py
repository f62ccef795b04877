"""Changes to a pass that are declared, not programmed: what may come over a wire, or from a file.

Each says which value, where, and what becomes of it; together they are a tap, which knows where in
the window its passes stand, so that a position means the same in a prompt and in what follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import InputError
from ..taps import axes, canonical_name, layer_of, sizes, table_name
from ..visible import on_one_line
from .cost import BUDGET, Indices, cost_of, select
from .finding import chosen, read
from .recorder import Recorder
from .steering import STRENGTH, direction, steer, within

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["OPS", "Direction", "Intervention", "Op", "check", "intervene"]

Op = Literal["suppress", "scale", "add", "set", "patch"]
OPS: dict[str, str] = {
    "suppress": "becomes 0",
    "scale": "is multiplied by `value`",
    "add": "has `value` added",
    "set": "becomes `value`",
    "patch": "becomes what it is, at the same position, in a pass over `source`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """For "add": the way from one text to another in the residual stream, `strength` times as long
    as what is there; see `steer`."""

    towards: str
    away: str
    strength: float = STRENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """One change of one kind of value. name: as in `pellucid.TAPS`, "attn.z" or "blocks.3.attn.z",
    or TransformerLens's. layer, head, position: only these; left out, all. Positions count from the
    window's beginning, generated tokens too; of a value with queries and keys they are the
    queries, and only keys that a query can see are changed.
    op: see `OPS`. value: a number, or one for each element of the value's last axis (where that is
    the keys: of a single position, one for each key that it sees); for "add" to resid_pre also a
    `Direction`. source: of "patch", a text or ids.
    Raises InputError where these do not go together.
    """

    name: str
    op: Op
    layer: Indices = None
    head: Indices = None
    position: Indices = None
    value: float | Sequence[float] | np.ndarray | Direction | None = None
    source: str | Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise InputError(f"op must be one of {', '.join(OPS)}, not {self.op!r}")
        needed = {"suppress": (), "patch": ("source",)}.get(self.op, ("value",))
        for name in ("value", "source"):
            given = getattr(self, name) is not None
            if given != (name in needed):
                verb = "takes no" if given else "needs a"
                raise InputError(f"{self.op} of {self.name!r} {verb} {name}")
        if isinstance(self.value, Direction) and self.op != "add":
            raise InputError(f"a direction can be added, not {self.op}: {OPS[self.op]}")

    @property
    def label(self) -> str:
        """In a few words: "L1H0 off", "MLP 3 × 0.5", "position 2 from “The queen”"."""
        return f"{_place(self)} {_done(self)}"


def _place(asked: Intervention) -> str:
    """web/change/chips.js writes the same."""
    name = canonical_name(asked.name)
    layer = _listed(asked.layer if name.split(".")[0] != "blocks" else layer_of(name))
    kind = ".".join(name.split(".")[2:]) if name.startswith("blocks.") else name
    head, position = _listed(asked.head), _listed(asked.position)
    if kind == "attn.z":
        where = f"L{layer or '*'}H{head or '*'}"
    elif kind == "embed":
        return f"position {position}" if position else kind
    else:
        known = {"mlp_out": "MLP", "attn_out": "attention"}
        where = f"{known[kind]} {layer or '*'}" if kind in known else kind
        if kind not in known and layer:
            where += f" L{layer}{f'H{head}' if head else ''}"
    return f"{where} at {position}" if position else where


def _listed(places: Indices) -> str:
    if places is None:
        return ""
    return ",".join(map(str, [places] if isinstance(places, int) else places))


def _done(asked: Intervention) -> str:
    value = asked.value
    if asked.op == "suppress":
        return "off"
    if asked.op == "patch":
        text = asked.source if isinstance(asked.source, str) else "ids"
        return f"from “{on_one_line(text if len(text) <= _SHOWN else text[:_SHOWN] + '…')}”"
    sign = {"scale": "×", "add": "+", "set": "="}[asked.op]
    if isinstance(value, Direction):
        return f"{sign} {on_one_line(value.towards.strip())}"
    if value is None or not isinstance(value, int | float):
        return f"{sign} edited"
    return f"{sign} {value:g}"


_SHOWN = 24  # characters of a source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """An intervention of one model: its names in full, everything in range. source: ids."""

    names: list[str]
    heads: tuple[int, ...] | None
    positions: tuple[int, ...] | None
    op: Op
    value: np.ndarray | None = None
    direction: Direction | None = None
    source: tuple[int, ...] | None = None


# (rows [n, (head,) last], their positions [n]) -> the rows, changed
_Operation = Callable[[np.ndarray, np.ndarray], np.ndarray]
# The same for some of the rows, in place; whether there were any.
_Apply = Callable[[np.ndarray, np.ndarray], bool]


def check(
    gpt: GPT, interventions: Iterable[Intervention], *, budget_bytes: int = BUDGET
) -> list[_Change]:
    """Whether `intervene` would take them; nothing is computed.

    Raises InputError for a name, layer, head, position, value or source that does not fit this
    model, and where the sources' values take more than the budget.
    """
    changes = [_checked(gpt, each) for each in interventions]
    for change in changes:
        if change.source is not None:
            n = len(change.source)
            cost = cost_of(gpt, change.names, gpt.hparams.n_head, n, n, n)
            cost.check(budget_bytes)
            budget_bytes -= cost.n_bytes
    return changes


def intervene(
    gpt: GPT, interventions: Iterable[Intervention], *, budget_bytes: int = BUDGET
) -> _Edited:
    """The tap that makes these changes, one after another, each to what the one before left; for
    `forward`, `generate(…, tap=…)` and chat. The sources of patches are run here, unchanged by it.

    Raises what `check` raises, before anything runs.
    """
    functions: dict[str, list[_Apply]] = {}
    for change in check(gpt, interventions, budget_bytes=budget_bytes):
        operations = _operations(gpt, change)
        for name in change.names:
            pairs = "query" in axes(name, gpt.hparams)
            functions.setdefault(name, []).append(_narrowed(change, pairs, operations(name)))
    return _Edited(gpt, functions)


class _Edited:
    """functions: by the value's name in full."""

    def __init__(self, gpt: GPT, functions: dict[str, list[_Apply]]) -> None:
        self._backend, self._hparams = gpt.model.backend, gpt.hparams
        self._functions = functions
        self._positions = np.zeros((1, 0), np.int64)

    def wants(self, name: str) -> bool:
        return name in self._functions

    def begins(self, positions: Array) -> None:
        self._positions = np.asarray(self._backend.to_numpy(positions))

    def _pairs(self, name: str) -> bool:
        return "query" in axes(name, self._hparams)

    def __call__(self, name: str, value: Array) -> Array:
        functions = self._functions.get(name)
        if functions is None:
            return value
        array = np.array(self._backend.to_numpy(value))
        rows = array.swapaxes(1, 2) if self._pairs(name) else array  # [batch, row, …]
        # Where only the last row goes on, it is the last position's.
        here = self._positions[:, -rows.shape[1] :]
        here = np.broadcast_to(here, rows.shape[:2])
        texts = list(zip(rows, here, strict=True))
        done = [function(*text) for function in functions for text in texts]
        return self._backend.asarray(array) if any(done) else value


def _checked(gpt: GPT, asked: Intervention) -> _Change:
    names = _names(gpt, asked)
    own, hparams = axes(names[0], gpt.hparams), gpt.hparams
    axis = next((each for each in own if each in ("head", "kv_head")), None)
    if asked.head is not None and axis is None:
        raise InputError(f"{asked.name!r} is not divided among heads: leave head out")
    heads = None
    if asked.head is not None and axis is not None:
        heads = chosen(asked.head, sizes(hparams)[axis], axis)
    positions: tuple[int, ...] | None = None
    if asked.position is not None:
        listed = [asked.position] if isinstance(asked.position, int) else list(asked.position)
        if any(position < 0 for position in listed):
            raise InputError("position counts from the window's beginning: 0, 1, 2, …")
        positions = chosen(listed, hparams.n_ctx, "position")
    change = _Change(names=names, heads=heads, positions=positions, op=asked.op)
    if asked.op == "suppress" and names[0].endswith(("attn.qk", "attn.scores")):
        raise InputError(
            "a score of 0 hides nothing: suppress attn.pattern, or set it to a low number"
        )
    if asked.source is not None:
        source = read(gpt, asked.source)[0]
        if positions is not None and (beyond := [p for p in positions if p >= len(source)]):
            raise InputError(
                f"position {beyond[0]} cannot be patched: the source has {len(source)} tokens"
            )
        return replace(change, source=source)
    if isinstance(asked.value, Direction):
        if table_name(names[0]) != "blocks.{i}.resid_pre":
            raise InputError(f"a direction can be added to resid_pre, not to {asked.name!r}")
        if not np.isfinite(asked.value.strength):
            raise InputError("the direction's strength must be a finite number")
        for end in ("towards", "away"):
            if not gpt.tokenizer.encode(getattr(asked.value, end)):
                raise InputError(f"the direction's {end} is an empty text")
        return replace(change, direction=asked.value)
    if asked.value is None:
        return change
    return replace(change, value=_number(gpt, asked, names[0], positions))


def _names(gpt: GPT, asked: Intervention) -> list[str]:
    name = canonical_name(asked.name)
    if set("*?[") & set(name):
        raise InputError(f"{asked.name!r} is a pattern: an intervention names one kind of value")
    found = select(gpt.hparams, name)
    if asked.layer is None:
        return found
    if layer_of(found[0]) is None:
        raise InputError(f"{asked.name!r} lies outside the layers: leave layer out")
    layers = chosen(asked.layer, gpt.hparams.n_layer, "layer")
    names = [each for each in found if layer_of(each) in layers]
    if not names:
        raise InputError(f"{asked.name!r} is not a value of the layers {list(layers)}")
    return names


def _number(
    gpt: GPT, asked: Intervention, name: str, positions: tuple[int, ...] | None
) -> np.ndarray:
    """The value in the model's own kind of numbers: one, or one for each element."""
    last, lengths = axes(name, gpt.hparams)[-1], sizes(gpt.hparams)
    try:
        exact = np.asarray(asked.value)
    except ValueError as error:  # lists of several lengths
        raise InputError("value must be a number, or a list of numbers") from error
    if exact.dtype.kind not in "iuf":
        raise InputError("value must be a number, or a list of numbers")
    if exact.ndim and last == "key":
        if positions is None or len(positions) != 1:
            raise InputError(
                f"{asked.name!r} takes one number, for how many keys there are changes; or, at a "
                "single position, one for each key that it sees"
            )
        lengths[last] = positions[0] + 1
    if exact.ndim and exact.shape != (lengths[last],):
        raise InputError(
            f"{asked.name!r} takes one number, or {lengths[last]} ({last}), "
            f"not the shape {list(exact.shape)}"
        )
    backend = gpt.model.backend
    with np.errstate(over="ignore"):
        value = np.asarray(backend.to_numpy(backend.asarray(exact)))
    if not np.isfinite(value).all():
        raise InputError(f"value must be finite in this model's numbers ({value.dtype})")
    return value


def _narrowed(change: _Change, pairs: bool, operation: _Operation) -> _Apply:
    """The operation, on the rows, heads and keys that it is for. pairs: of queries and keys."""
    # Of a value without heads, everything.
    heads = slice(None) if change.heads is None else list(change.heads)

    def apply(rows: np.ndarray, positions: np.ndarray) -> bool:
        wanted = np.ones(len(positions), bool)
        if change.positions is not None:
            wanted = np.isin(positions, change.positions)
        if change.source is not None:
            wanted &= positions < len(change.source)
        if not wanted.any():
            return False
        at = positions[wanted]
        some = rows[wanted]  # a copy
        part = some[:, heads]
        changed = operation(part, at)
        if pairs:
            seen = np.arange(rows.shape[-1]) <= at[:, None]  # [n, key]
            changed = np.where(seen[:, None], changed, part)
        some[:, heads] = changed
        rows[wanted] = some
        return True

    return apply


def _operations(gpt: GPT, change: _Change) -> Callable[[str], _Operation]:
    """What the change does to the value of a name."""
    if change.direction is not None:
        way = change.direction
        return lambda name: _steered(gpt, way, name)
    if change.source is not None:
        recorder = Recorder(gpt, change.names, heads=change.heads, budget_bytes=1 << 62)
        gpt.forward([change.source], tap=recorder)
        values = recorder.passes[0]
        return lambda name: _patched(
            gpt.model.backend.to_numpy(values[name])[0], "query" in axes(name, gpt.hparams)
        )
    value = np.zeros(()) if change.value is None else change.value

    def to(rows: np.ndarray) -> np.ndarray:
        """As wide as the rows: of keys the position's own come first, and only they are changed."""
        missing = rows.shape[-1] - value.shape[-1] if value.ndim else 0
        return np.pad(value, (0, missing)) if missing else value

    operations: dict[Op, _Operation] = {
        "suppress": lambda rows, at: np.zeros_like(rows),
        "scale": lambda rows, at: rows * to(rows),
        "add": lambda rows, at: rows + to(rows),
        "set": lambda rows, at: np.broadcast_to(to(rows), rows.shape),
    }
    return lambda name: operations[change.op]


def _steered(gpt: GPT, way: Direction, name: str) -> _Operation:
    layer, backend = layer_of(name), gpt.model.backend
    assert layer is not None
    vector = direction(gpt, within(way.towards), within(way.away), layer)
    function = steer(gpt, vector, layer, strength=way.strength).functions[name]
    return lambda rows, at: np.asarray(backend.to_numpy(function(backend.asarray(rows))))


def _patched(stored: np.ndarray, pairs: bool) -> _Operation:
    """stored: the source's value, without its batch axis. pairs: of queries and keys."""
    if not pairs:
        return lambda rows, at: stored[at]
    by_query = stored.swapaxes(0, 1)  # [query, head, key]

    def put(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        changed = rows.copy()  # a query of the source sees no key that is missing here
        n = min(rows.shape[-1], stored.shape[-1])
        changed[..., :n] = by_query[at][..., :n]
        return changed

    return put
