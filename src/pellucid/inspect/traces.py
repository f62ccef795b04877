"""Every value of a forward pass or of a generation, by its name: kept, saved and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..draw.notation import size
from ..draw.pictures import Heat, Picture, Section, Value, Values
from ..errors import InputError
from ..families import hparams_of
from ..hparams import HParams
from ..taps import axes, canonical_name, table, table_name, tap_names, transformer_lens_name
from .cost import Indices, Names, select
from .finding import Finding, chosen, shortened

__all__ = ["Trace"]

_FORMAT = "pellucid trace 1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace(Finding, Mapping[str, np.ndarray]):
    """The values of one text, by name: ours or TransformerLens's.

    arrays: as the model makes them (see `pellucid.TAPS`) without the batch axis. Each position
    axis ("position", "query") runs over `positions`, each head axis over `heads`; keys are all
    that the last position can see. ids, tokens, text: of the whole text.
    """

    arrays: dict[str, np.ndarray] = field(repr=False)
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
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
        return axes(canonical_name(name), self.hparams)[1:]

    def formula(self, name: str) -> str:
        """How a value comes about: "softmax(scores)"."""
        return table(self.hparams)[table_name(canonical_name(name))].formula

    def sections(self) -> list[Section]:
        rows = tuple(
            Value(
                name=name,
                axes=self.axes(name),
                formula=self.formula(name),
                array=array,
            )
            for name, array in self.arrays.items()
        )
        tokens = tuple(self.tokens[i] for i in self.positions)
        largest = max(self.arrays, key=lambda name: self.arrays[name].size)
        values = Values(
            rows=rows,
            tokens=tokens,
            keys=self.tokens,
            heads=self.heads,
            more="Trace fewer (names, layers, heads, positions), or read them in Python: "
            f"trace[{largest!r}].",
        )
        n, whole = len(self.positions), len(self.ids)
        return [
            Section(
                kind="Trace",
                title="Trace",
                how=f"{len(rows)} value{'s' * (len(rows) != 1)}, {size(self.n_bytes)}, of "
                f"{'every position' if n == whole else f'{n} of {whole} positions'}, in the order "
                "in which the model computes them.",
                about=shortened(self.text),
                pictures=(values, *self._norms(tokens)),
            )
        ]

    def _norms(self, tokens: tuple[str, ...]) -> list[Picture]:
        """How long the residual stream is, where it was recorded beside other values."""
        streams = [name for name in self.arrays if name.endswith("resid_post")]
        if not streams or len(self.arrays) == 1:
            return []
        lengths = [np.linalg.norm(self[name].astype(np.float64), axis=-1) for name in streams]
        return [
            Heat(
                values=np.stack(lengths),
                rows=tuple(f"L{name.split('.')[1]}" for name in streams),
                columns=tokens,
                tokens=True,
                what="norm",
                caption="How long the residual stream is after each layer.",
            )
        ]

    def narrowed(
        self,
        names: Names = "*",
        *,
        layers: Indices = None,
        heads: Indices = None,
        positions: Indices = None,
    ) -> Trace:
        """The same with fewer values: those named (see `select`), of these heads and positions.

        Raises InputError when none is left, or for a head or position that was not recorded.
        """
        patterns = [names] if isinstance(names, str) else list(names)
        named = set(
            select(self.hparams, [*patterns, "*result"] if "*" in patterns else patterns, layers)
        )
        wanted = self.heads if heads is None else chosen(heads, self.hparams.n_head, "head")
        if missing := [head for head in wanted if head not in self.heads]:
            raise InputError(f"head {missing[0]} was not recorded; there are {list(self.heads)}")
        rows = [self.heads.index(head) for head in wanted]
        places = self.positions
        if positions is not None:
            places = chosen(positions, len(self.ids), "position")
            if missing := [place for place in places if place not in self.positions]:
                raise InputError(f"position {missing[0]} was not recorded")
        kept = {}
        for name, value in self.arrays.items():
            if name in named:
                own = self.axes(name)
                kept[name] = value.take(rows, own.index("head")) if "head" in own else value
                if positions is not None:
                    kept[name] = self._at(places, kept[name], own)
        if not kept:
            raise InputError(f"none of these values was recorded; there are {', '.join(self)}")
        return replace(self, arrays=kept, heads=tuple(wanted), positions=tuple(places))

    def _at(self, places: tuple[int, ...], value: np.ndarray, own: tuple[str, ...]) -> np.ndarray:
        axis = own.index("query" if "query" in own else "position")
        # Of a generation's logits there is a row for each step: the last positions'.
        rows = self.positions[len(self.positions) - value.shape[axis] :]
        return value.take([rows.index(place) for place in places if place in rows], axis)

    def save(self, path: str | Path) -> None:
        """To one safetensors file, names and tokens included."""
        from safetensors.numpy import save_file

        arrays, about = self._safetensors()
        save_file(arrays, str(path), metadata=about)

    def to_bytes(self) -> bytes:
        """What `save` writes to a file."""
        from safetensors.numpy import save

        arrays, about = self._safetensors()
        return bytes(save(arrays, metadata=about))

    def _safetensors(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """(the arrays, what belongs to them)"""
        about = {
            "format": _FORMAT,
            "ids": json.dumps(self.ids),
            "tokens": json.dumps(self.tokens),
            "text": json.dumps(self.text),
            "positions": json.dumps(self.positions),
            "heads": json.dumps(self.heads),
            "hparams": json.dumps(self.hparams.to_dict()),
        }
        arrays = {name: np.ascontiguousarray(value) for name, value in self.arrays.items()}
        return arrays, about

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
            text = str(json.loads(about.get("text", '""')))  # not in the first such files
            hparams = hparams_of(json.loads(about["hparams"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is a damaged trace: {error}") from error
        order = [name for name in tap_names(hparams) if name in values]
        kept = {name: values[name] for name in order}
        return cls(
            arrays=kept,
            ids=ids,
            tokens=tokens,
            text=text,
            positions=positions,
            heads=heads,
            hparams=hparams,
        )

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
