"""What changed since 2017: the same sentence through the original Transformer, GPT-2, GPT-3 and
Llama, side by side, value by value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backend import get_backend
from ..draw.notation import percent
from ..draw.pictures import Section
from ..draw.slides import Table
from ..errors import InputError
from ..families import FAMILIES, family_of
from ..gpt import GPT, load
from ..hparams import HParams
from ..model import EncoderDecoder, Model
from ..translate import Translator
from ..weights import initialise
from ..weights import shapes as weights_shapes
from .finding import Finding

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["Compared", "Lineage", "lineage"]

_LINE = ("transformer", "gpt2", "gpt3", "llama")  # in the order in which they came
_TITLES = ("2017", "GPT-2", "GPT-3", "Llama")
_TINY: dict[str, Any] = {"n_ctx": 64, "n_embd": 32, "n_head": 4, "n_layer": 2}
_OWN: dict[str, dict[str, Any]] = {
    "gpt3": {"band": 4},
    # Two thirds of the neurons: the same number of parameters in three matrices.
    "llama": {"n_kv_head": 2, "d_head": 8, "n_inner": 86, "tied": True},
}

# What is not a number, in that order.
_WORDS = {
    "positions": {
        "place": ("waves, added", "a table, added", "as GPT-2", "q and k are turned"),
        "learned": ("no", "yes", "yes", "no"),
    },
    "norms": {
        "where": ("after each sum", "before each part", "as GPT-2", "as GPT-2"),
        "by": ("deviation", "deviation", "deviation", "root mean square"),
    },
    "heads": {
        "see": ("to here; a source", "to here", "to here; a band", "to here"),
    },
    "MLP": {
        "bends by": ("ReLU", "GELU", "GELU", "SwiGLU"),
    },
}

_HOW = {
    "positions": "What tells a token its place. Lengths of the last token's embedding, of what is "
    "added to it, and of its first query; and how far that is turned: the cosine between it and "
    "itself turned.",
    "norms": "What the first norm makes of the last token, before its gain: mean, deviation, root "
    "mean square (less than 1 by ε, where a stream is as short as when a training starts). And how "
    "long that token's stream is before and after the first block.",
    "heads": "Heads of queries, and of keys and values; how many numbers of a token a layer keeps "
    "for those that follow; how many keys the last token's first head gives any weight to.",
    "MLP": "Neurons, the numbers in the matrices around them, and for the last token in the first "
    "layer the shares of neurons that are exactly zero, and below it.",
}


class Compared(NamedTuple):
    """One line of the comparison. part: of the model. values [model]: a text, a number, or None
    where there is no such value. share: whether numbers are shares of 1."""

    part: str
    what: str
    values: tuple[str | float | None, ...]
    share: bool = False

    def cells(self) -> tuple[str, ...]:
        return tuple(map(self._cell, self.values))

    def _cell(self, value: str | float | None) -> str:
        if value is None:
            return "–"
        if isinstance(value, str):
            return value
        if self.share:
            return percent(value)
        return f"{value:,}" if isinstance(value, int) else f"{round(value, 2) + 0.0:.2f}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Lineage(Finding):
    """models, tokens [model]: whose numbers stand in each column, and the tokens it read. All
    numbers are of the last token where nothing else is said."""

    text: str
    titles: tuple[str, ...]
    models: tuple[str, ...]
    tokens: tuple[int, ...]
    compared: tuple[Compared, ...]

    def sections(self) -> list[Section]:
        parts = list(dict.fromkeys(row.part for row in self.compared))
        return [
            Section(
                kind="Lineage",
                title=f"What changed since 2017: {part}",
                how=_HOW[part],
                about=self.text,
                pictures=(self._table(part),),
                notes=self._models() if part == parts[-1] else (),
            )
            for part in parts
        ]

    def _table(self, part: str) -> Table:
        rows = [(row.what, *row.cells()) for row in self.compared if row.part == part]
        return Table(columns=("", *self.titles), rows=tuple(rows))

    def _models(self) -> tuple[str, ...]:
        return tuple(
            f"{title}: {model}, {n} tokens"
            for title, model, n in zip(self.titles, self.models, self.tokens, strict=True)
        )


def lineage(text: str, models: Iterable[GPT | Translator] = (), *, seed: int = 0) -> Lineage:
    """The four on the same text: tiny ones with random weights, and the tokens of the embedded
    chatbot, but for those of `models`, which stand in for their families.

    The original Transformer's are its decoder's, the half that the others keep; its source is
    the text too. Raises InputError for two models of one family, ContextError for a text that
    does not fit.
    """
    given: dict[str, GPT | Translator] = {}
    for each in models:
        family = each.model.hparams.family
        if family in given or family not in _LINE:
            raise InputError(f"{each.name} is the second model of its family: give one of each")
        given[family] = each
    if not text:
        raise InputError("there is nothing to compare: the text is empty")
    tokenizer = None if len(given) == len(_LINE) else load("chat").tokenizer
    members = [
        _given(given[family], text) if family in given else _random(family, text, tokenizer, seed)
        for family in _LINE
    ]
    return Lineage(
        text=text,
        titles=_TITLES,
        models=tuple(member.name for member in members),
        tokens=tuple(member.n for member in members),
        compared=tuple(_compared(members)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Member:
    """name: what model it is. n: tokens. values: what was computed, by the name of its tap without
    its stack's."""

    name: str
    hparams: HParams
    n: int
    values: dict[str, np.ndarray]

    def length(self, name: str) -> float | None:
        return None if name not in self.values else float(np.linalg.norm(self.values[name][-1]))


def _random(family: str, text: str, tokenizer: Tokenizer | None, seed: int) -> _Member:
    assert tokenizer is not None
    sizes = _TINY | _OWN.get(family, {}) | {"n_vocab": tokenizer.n_vocab}
    hparams, backend = FAMILIES[family].hparams(**sizes), get_backend("numpy")
    ids, weights = tokenizer.encode(text), initialise(hparams, seed)
    name = f"random weights, {hparams.n_params:,} parameters"
    if family_of(hparams).encodes:
        return _translated(EncoderDecoder.of(hparams, weights, backend), ids, ids, name)
    return _read(Model.of(hparams, weights, backend), ids, name)


def _given(model: GPT | Translator, text: str) -> _Member:
    if isinstance(model, Translator):
        ids = model.tokenizer.encode(text)
        return _translated(model.model, [*ids, model.end], [model.begin, *ids], model.name)
    return _read(model.model, model.encode(text), model.name)


def _read(model: Model, ids: Sequence[int], name: str) -> _Member:
    tap = _Kept(model.backend)
    model.forward(ids, tap=tap)
    return _Member(name=name, hparams=model.hparams, n=len(ids), values=tap.values)


def _translated(
    model: EncoderDecoder, source: Sequence[int], target: Sequence[int], name: str
) -> _Member:
    tap = _Kept(model.backend)
    model.forward(source, target, tap=tap)
    stack = "decoder."
    values = {k.removeprefix(stack): v for k, v in tap.values.items() if k.startswith(stack)}
    return _Member(name=name, hparams=model.hparams, n=len(target), values=values)


class _Kept:
    """A tap that keeps what is compared, without the batch's axis."""

    _ENDS = (
        "embed", "pos_embed", "resid_pre", "resid_post", "attn.q", "attn.rot_q", "attn.pattern",
        "cross.pattern", "ln1.normalized", "mlp.pre", "mlp.post",
    )  # fmt: skip

    def __init__(self, backend: Any) -> None:
        self.values: dict[str, np.ndarray] = {}
        self._to_numpy = backend.to_numpy

    def wants(self, name: str) -> bool:
        return name.endswith(self._ENDS)

    def __call__(self, name: str, value: Any) -> Any:
        if self.wants(name):
            self.values[name] = self._to_numpy(value)[0]
        return value


def _compared(members: Sequence[_Member]) -> Iterator[Compared]:
    """All lines, part by part."""
    for part, measure in _MEASURED.items():
        for what, words in _WORDS[part].items():
            yield Compared(part=part, what=what, values=words)
        columns = [measure(member) for member in members]
        for what in columns[0]:
            values = tuple(column[what] for column in columns)
            yield Compared(part=part, what=what, values=values, share=part == "MLP" and "0" in what)


def _positions(member: _Member) -> dict[str, float | None]:
    query = member.values["blocks.0.attn.q"][-1, 0]
    turned = member.values.get("blocks.0.attn.rot_q")
    length, around = float(np.linalg.norm(query)), None
    if turned is not None:
        around = float(query @ turned[-1, 0] / (length * np.linalg.norm(turned[-1, 0])))
    return {
        "embedding": member.length("embed"),
        "added": member.length("pos_embed"),
        "query": length,
        "turned": around,
    }


def _norms(member: _Member) -> dict[str, float | None]:
    row = member.values["blocks.0.ln1.normalized"][-1]
    # Where the next block takes it in: there the norm that stands after a sum is in it.
    after = "blocks.1.resid_pre" if member.hparams.n_layer > 1 else "blocks.0.resid_post"
    return {
        "mean": float(row.mean()),
        "deviation": float(row.std()),
        "rms": float(np.sqrt((row**2).mean())),
        "stream": member.length("blocks.0.resid_pre"),
        "then": member.length(after),
    }


def _heads(member: _Member) -> dict[str, float | None]:
    h = member.hparams
    seen: dict[str, float | None] = {
        f"seen in {i}": _seen(member.values.get(f"blocks.{i}.attn.pattern")) for i in (0, 1)
    }
    return {
        "heads": h.n_head,
        "of keys": h.n_kv_head,
        "kept": 2 * h.n_kv_head * h.d_k,
        **seen,
        "of a source": _seen(member.values.get("blocks.0.cross.pattern")),
    }


def _seen(pattern: np.ndarray | None) -> int | None:
    """pattern [head, query, key] -> keys of any weight to the last query, in the first head."""
    return None if pattern is None else int((pattern[0, -1] > 0).sum())


def _mlp(member: _Member) -> dict[str, float | None]:
    post = member.values["blocks.0.mlp.post"][-1]
    shapes = weights_shapes(member.hparams)
    around = (np.prod(shape) for name, shape in shapes.items() if _MLP.fullmatch(name))
    return {
        "neurons": member.hparams.n_inner,
        "numbers": int(sum(around)),
        "at 0": float((post == 0).mean()),
        "below 0": float((post < 0).mean()),
    }


_MLP = re.compile(r"(decoder\.)?h\.0\.mlp\..*\.weight")
_MEASURED = {"positions": _positions, "norms": _norms, "heads": _heads, "MLP": _mlp}
