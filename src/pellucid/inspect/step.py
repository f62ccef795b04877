"""A step of the walk, and what its pictures are made of: the values of one recorded pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.pictures import Lines, Picture, Section
from ..draw.slides import Formula, Matrix, Role
from ..taps import table
from .finding import Finding, whole
from .recorder import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT
    from ..hparams import HParams

__all__ = ["Seen", "Step", "added", "pictures_of"]

_POSITIONS = 8  # whose arrays are pictured: the talk's window; `values` holds all


@dataclass(frozen=True, kw_only=True, eq=False)
class Step(Finding):
    """One step of the talk. talk: its words, from the slide. words: what happens, in plain ones.
    values: the arrays it is about, by their tap's name or their weight's."""

    number: int
    title: str
    talk: str
    words: tuple[str, ...]
    formula: str
    values: Mapping[str, np.ndarray]
    pictures: tuple[Picture, ...]

    def to_dict(self) -> dict[str, Any]:
        """Without the pictures, whose numbers are the values."""
        bare = replace(self, pictures=())
        return {
            name: value for name, value in super(Step, bare).to_dict().items() if name != "pictures"
        }

    def sections(self) -> list[Section]:
        formula = [Formula(text=self.formula)] if self.formula else []
        return [
            Section(
                kind="Step",
                title=f"{self.number}. {self.title}",
                how=f"“{self.talk}”",
                pictures=(Lines(lines=self.words), *formula, *self.pictures),
            )
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One pass over the ids. layer, head, position: what is opened and followed."""

    gpt: GPT
    ids: tuple[int, ...]
    layer: int
    head: int
    position: int

    @cached_property
    def recorded(self) -> dict[str, Array]:
        """What the pass made, by its tap's name: all of the layer, the stream of every layer."""
        outside = [
            "embed",
            *added(self.gpt.hparams),
            "blocks.0.resid_pre",
            "ln_final.out",
            "logits",
        ]
        streams = ["resid_post", "attn_out", "mlp_out"]
        recorder = Recorder(self.gpt, [*outside, *streams, f"{self.block}.*"])
        # A tap that asks for everything: the pass by the formulas, nothing fused.
        self.gpt.forward([self.ids], tap=lambda name, value: recorder(name, value))
        return recorder.passes[0]

    @property
    def family(self) -> str:
        return self.gpt.hparams.family

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """The same for numpy, without the batch axis."""
        to_numpy = self.gpt.model.backend.to_numpy
        return {name: to_numpy(value)[0] for name, value in self.recorded.items()}

    @cached_property
    def text(self) -> str:
        return whole(self.gpt, self.ids)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Each token as it is shown."""
        return tuple(piece.shown for piece in self.gpt.tokenizer.pieces(self.ids))

    @property
    def name(self) -> str:
        """The token at the followed position."""
        return self.names[self.position]

    @property
    def block(self) -> str:
        return f"blocks.{self.layer}"

    @property
    def attn(self) -> str:
        return f"blocks.{self.layer}.attn"

    @property
    def shown(self) -> list[int]:
        """The positions that are pictured: the followed one and those before it."""
        low = max(0, min(self.position - _POSITIONS + 1, len(self.ids) - _POSITIONS))
        return list(range(low, min(low + _POSITIONS, len(self.ids))))

    def of(self, *names: str) -> dict[str, np.ndarray]:
        return {name: self.values[name] for name in names}

    def rows(self, values: np.ndarray, caption: str, role: Role = "residual") -> Matrix:
        """values [position, number]: the array of each token."""
        return Matrix(
            values=values[self.shown],
            rows=tuple(self.names[i] for i in self.shown),
            followed=self.shown.index(self.position),
            role=role,
            caption=caption,
        )

    def pairs(self, values: np.ndarray, caption: str, *, ground: bool = False) -> Matrix:
        """values [query, key]"""
        names = tuple(self.names[i] for i in self.shown)
        return Matrix(
            values=values[np.ix_(self.shown, self.shown)],
            rows=names,
            columns=names,
            corner="query \\ key",
            followed=self.shown.index(self.position),
            ground=ground,
            caption=caption,
        )

    def sum(
        self, left: tuple[str, np.ndarray], right: tuple[str, np.ndarray], says: str
    ) -> tuple[Matrix, Lines]:
        """Two arrays, the products of their numbers, and what these amount to."""
        rows = [left, right, ("product", left[1] * right[1])]
        matrix = Matrix(
            values=np.stack([values for _, values in rows]),
            rows=tuple(name for name, _ in rows),
            followed=2,
        )
        return matrix, Lines(lines=(says,))


def added(hparams: HParams) -> list[str]:
    """What is added to the embeddings: positions, where the family adds them."""
    return ["pos_embed"] if "pos_embed" in table(hparams) else []


def pictures_of(sections: Iterable[Section]) -> tuple[Picture, ...]:
    return tuple(picture for section in sections for picture in section.pictures)
