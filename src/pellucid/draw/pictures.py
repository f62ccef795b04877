"""What a picture is: numbers, what their axes are called and how they are to be read.

Frozen dataclasses, checked when they are made. None of them knows who draws it: a terminal shows
as much as fits, a page lets everything be pointed at. `to_dict` is the form for JSON; with another
`pack` than `plain` arrays become what that makes of them (the page: base64, within its budget).
Tokens stand as they are; whoever draws them makes them visible (pellucid.visible).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import InputError
from .notation import Form, percent
from .packing import Pack, form, forms, plain

__all__ = [
    "Bars",
    "Distribution",
    "Heads",
    "Heat",
    "Lens",
    "Lines",
    "Picture",
    "Scale",
    "Section",
    "Tabs",
    "Tokens",
    "Value",
    "Values",
]

# "sequential": from 0, brighter is more; "diverging": around 0, blue above and orange below.
Scale = Literal["sequential", "diverging"]


_QUERIES = 128  # looked at together, without the keys that come after all of them


class Picture:
    """Base of the primitives. caption: what is seen here, where the section has not said it."""

    # Whether it takes what room there is, and leaves the rest out: such are packed last.
    flexible: ClassVar[bool] = False

    caption: str

    def to_dict(self, pack: Pack = plain) -> dict[str, Any]:
        """Plain numbers, texts, lists and dicts, with the primitive's name as `type`."""
        return {"type": type(self).__name__.lower(), **forms(self, pack)}

    def _check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise InputError(f"{type(self).__name__}: {otherwise}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """Pictures that answer one question. kind: the finding's. title: a few words. how: what is
    seen and how to read it. about: the text it is about. notes: what was left out, and the like.
    aside: details for a page, which a terminal only names."""

    kind: str
    title: str
    how: str
    pictures: tuple[Picture, ...]
    about: str = ""
    notes: tuple[str, ...] = ()
    aside: bool = False

    def __post_init__(self) -> None:
        if not self.kind or not self.title:
            raise InputError("Section: it needs a kind and a title")

    @property
    def flexible(self) -> bool:
        """Whether one of its pictures takes what room there is."""
        return any(picture.flexible for picture in self.pictures)

    def to_dict(self, pack: Pack = plain) -> dict[str, Any]:
        """The form for JSON, with that of each picture."""
        return forms(self, pack)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines(Picture):
    """Plain text. listed: short entries, one a line, rather than sentences."""

    lines: tuple[str, ...]
    listed: bool = False
    caption: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars(Picture):
    """One bar a row. values [row]; after [row]: the same once something was changed, and names:
    what the two are called. tokens: whether the labels are tokens. notes [row]: said beside the
    bar. high: what a full bar is (default: the largest). total: the rows' sum, where it says
    something."""

    labels: tuple[str, ...]
    values: np.ndarray
    after: np.ndarray | None = None
    names: tuple[str, str] = ("before", "after")
    form: Form = "number"
    tokens: bool = False
    notes: tuple[str, ...] = ()
    high: float | None = None
    total: float | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        n = len(self.labels)
        for name, rows in (("values", self.values), ("after", self.after)):
            if rows is not None:
                self._check(np.shape(rows) == (n,), f"{n} labels, but {name} {np.shape(rows)}")
        self._check(len(self.notes) in (0, n), f"{n} labels, but {len(self.notes)} notes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat(Picture):
    """values [row, column] on coloured grounds; not-a-number stays empty. rows, columns: their
    labels; tokens: whether the columns are tokens. high: the value of the strongest colour
    (default: the largest). cells [row · column]: written instead of the numbers, where there is
    room to write. notes [row · column]: said of a cell that is pointed at. what: what the
    numbers are."""

    values: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scale: Scale = "sequential"
    form: Form = "number"
    tokens: bool = False
    high: float | None = None
    cells: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    what: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.rows), len(self.columns))
        self._check(
            np.shape(self.values) == shape,
            f"labels for {shape}, but values {np.shape(self.values)}",
        )
        for texts in (self.cells, self.notes):
            self._check(len(texts) in (0, shape[0] * shape[1]), f"{len(texts)} texts for {shape}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens(Picture):
    """A text, each token on the colour of its number. values [token]; notes [token]; high, what:
    as in `Heat`."""

    tokens: tuple[str, ...]
    values: np.ndarray
    scale: Scale = "diverging"
    form: Form = "signed"
    high: float | None = None
    notes: tuple[str, ...] = ()
    what: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        n = len(self.tokens)
        self._check(np.shape(self.values) == (n,), f"{n} tokens, values {np.shape(self.values)}")
        self._check(len(self.notes) in (0, n), f"{n} tokens, but {len(self.notes)} notes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads(Picture):
    """Attention patterns. pattern [layer, head, query, key], each query's row sums to 1, later
    keys 0. layers, heads: the numbers of those shown. entropy, distance [layer, head]: means
    over the queries, nats and tokens looked back. position: the query shown where there is room
    for one. labels: (layer, head) -> what it is known to do. more: how to get what is left out."""

    flexible: ClassVar[bool] = True

    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    pattern: np.ndarray
    entropy: np.ndarray
    distance: np.ndarray
    position: int
    labels: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)
    more: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        n, shape = len(self.tokens), (len(self.layers), len(self.heads))
        self._check(
            np.shape(self.pattern) == (*shape, n, n),
            f"{shape} heads and {n} tokens, but a pattern {np.shape(self.pattern)}",
        )
        for values in (self.entropy, self.distance):
            self._check(np.shape(values) == shape, f"{shape} heads, but {np.shape(values)} means")
        self._check(0 <= self.position < n, f"position {self.position} of {n} tokens")

    def to_dict(self, pack: Pack = plain) -> dict[str, Any]:
        """pattern [layer, head, query · (query + 1) / 2 + key]: the lower triangle. Where there is
        no room for it: keys, weights [layer, head, query, k], of each query its largest, and
        `left_out`, which says so."""
        known = {name: value for name, value in vars(self).items() if name != "pattern"}
        packed = {"type": "heads", **{name: form(value, pack) for name, value in known.items()}}
        packed["labels"] = {
            f"{layer},{head}": list(names) for (layer, head), names in self.labels.items()
        }
        n_layer, n_head, n = self.pattern.shape[:3]
        itemsize = self.pattern.dtype.itemsize
        itemsize = min(itemsize, 4) if n > 64 else itemsize
        if n_layer * n_head * n * (n + 1) // 2 * itemsize <= pack.room:
            query, key = np.tril_indices(n)
            packed["pattern"] = pack(self.pattern[..., query, key])
            return packed
        k = min(n, max(1, int(pack.room) // (6 * n_layer * n_head * n)))
        keys, weights = self._largest(k)
        packed["keys"], packed["weights"] = pack(keys), pack(weights)
        kept = float(weights.sum(-1, dtype=np.float64).mean())
        packed["left_out"] = (
            f"{n} tokens in {n_layer * n_head} heads are too many weights for one page: of each "
            f"query only its {k} largest are here ({percent(kept)} of all attention). {self.more}"
        )
        return packed

    def _largest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k largest weights of each query: (keys, weights), both [layer, head, query, k]."""
        n = len(self.tokens)
        keys = np.empty((*self.pattern.shape[:3], k), np.uint16 if n < 1 << 16 else np.int32)
        weights = np.empty(keys.shape, np.float32)
        for layer, head in np.ndindex(*self.pattern.shape[:2]):
            for low in range(0, n, _QUERIES):
                some = slice(low, low + _QUERIES)
                rows = self.pattern[layer, head, some, : max(low + _QUERIES, k)]
                # The other way round, the many zeros of later keys take four times as long.
                largest = np.argpartition(-rows, min(k, rows.shape[1] - 1), axis=-1)[:, :k]
                keys[layer, head, some] = largest
                weights[layer, head, some] = np.take_along_axis(rows, largest, -1)
        return keys, weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Lens(Picture):
    """Predictions read out after each layer. layers: "embed", "0", "1", …; positions and tokens:
    where it was read; targets: what really follows there. top, logprobs [layer, position, k]: the
    likeliest ids, likeliest first; texts: id -> token. watched: the targets are one token that was
    asked for. target_logprobs, target_ranks (from 0),
    entropy, divergence (from the output, nats) [layer, position]."""

    layers: tuple[str, ...]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    targets: tuple[str, ...]
    top: np.ndarray
    logprobs: np.ndarray
    target_logprobs: np.ndarray
    target_ranks: np.ndarray
    entropy: np.ndarray
    divergence: np.ndarray
    texts: Mapping[int, str]
    watched: bool = False
    caption: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.layers), len(self.positions))
        n = shape[1]
        self._check(
            len(self.tokens) == len(self.targets) == n, f"{n} positions, but other many tokens"
        )
        self._check(np.shape(self.top) == np.shape(self.logprobs), "not as many ids as logprobs")
        for name in ("top", "logprobs", "target_logprobs", "target_ranks", "entropy", "divergence"):
            actual = np.shape(getattr(self, name))
            self._check(actual[:2] == shape, f"{shape} layers and positions, but {name} {actual}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution(Picture):
    """What may come next. logits [n_vocab]: the model's own. ids, texts: the likeliest tokens,
    likeliest first."""

    logits: np.ndarray
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        self._check(np.ndim(self.logits) == 1, f"logits of one position, not {self.logits.shape}")
        self._check(len(self.ids) == len(self.texts), "not as many ids as texts")


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """One array by its name. axes: what each is. formula: where it comes from."""

    name: str
    axes: tuple[str, ...]
    formula: str
    array: np.ndarray

    def __post_init__(self) -> None:
        if len(self.axes) != self.array.ndim:
            raise InputError(f"Value: {self.name} {self.array.shape} has not the axes {self.axes}")

    @property
    def statistics(self) -> tuple[float, float, float, float]:
        """(lowest, mean, highest, standard deviation) of what is finite."""
        finite = self._finite()
        if not finite.size:
            return (math.nan,) * 4
        return float(finite.min()), float(finite.mean()), float(finite.max()), float(finite.std())

    def _finite(self) -> np.ndarray:
        return np.asarray(self.array[np.isfinite(self.array)], np.float64)

    def to_dict(self, pack: Pack, *, whole: bool) -> dict[str, Any]:
        """whole: with its numbers, not only what they amount to."""
        known = {
            "name": self.name,
            "axes": list(self.axes),
            "shape": list(self.array.shape),
            "formula": self.formula,
            "statistics": form(self.statistics, pack),
            "histogram": np.histogram(self._finite(), 24)[0].tolist(),
        }
        return known | ({"values": pack(self.array.astype(np.float32))} if whole else {})


@dataclass(frozen=True, kw_only=True, eq=False)
class Values(Picture):
    """Arrays by name. tokens: of their position axes; keys: of key axes, the text from its
    beginning; heads: the numbers of those on head axes. more: how to get what is left out."""

    flexible: ClassVar[bool] = True

    rows: tuple[Value, ...]
    tokens: tuple[str, ...]
    keys: tuple[str, ...]
    heads: tuple[int, ...]
    more: str = ""
    caption: str = ""

    def to_dict(self, pack: Pack = plain) -> dict[str, Any]:
        """Statistics of all, and the numbers of as many as there is room for, small ones first;
        `left_out` says where that is not all."""
        room = pack.room
        fits: set[str] = set()
        for row in sorted(self.rows, key=lambda row: row.array.size):
            if 4 * row.array.size <= room:
                fits.add(row.name)
                room -= 4 * row.array.size
        known = {name: value for name, value in vars(self).items() if name != "rows"}
        packed = {"type": "values", **{name: form(value, pack) for name, value in known.items()}}
        packed["rows"] = [row.to_dict(pack, whole=row.name in fits) for row in self.rows]
        if len(fits) < len(self.rows):
            first = next(row.name for row in self.rows if row.name not in fits)
            packed["left_out"] = (
                f"Statistics are here for all {len(self.rows)} values, the numbers themselves for "
                f"{len(fits)}: the rest, such as {first}, would make the page too large. "
                f"{self.more}"
            )
        return packed


@dataclass(frozen=True, kw_only=True, eq=False)
class Tabs(Picture):
    """The same thing in several pictures, of which a page shows one at a time. caption: what they
    differ by. unfolded: those shown where none can be chosen (default: the first)."""

    pictures: Mapping[str, Picture]
    unfolded: tuple[str, ...] = ()
    caption: str = ""

    def __post_init__(self) -> None:
        self._check(bool(self.pictures), "there is no picture")
        self._check(set(self.unfolded) <= set(self.pictures), f"no picture of {self.unfolded}")
