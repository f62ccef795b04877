"""How each of our tensors is stored: as one of a file's or several, turned or as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CheckpointError

__all__ = ["Part", "check_parts", "divided", "joined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor of a file. shape: as stored. turned: whether ours is the transpose. heads: of how
    many heads the pairs stand side by side; 0 where they do not."""

    name: str
    shape: tuple[int, ...]
    turned: bool
    heads: int = 0


def check_parts(
    parts: Mapping[str, list[Part]], arrived: Mapping[str, tuple[int, ...]], source: Path
) -> None:
    """Every tensor of these and no other, before any number is read. arrived: shapes as stored."""
    expected = {part.name: part.shape for listed in parts.values() for part in listed}
    for what, names in (
        ("missing tensors", [name for name in expected if name not in arrived]),
        (
            "tensors that no model of this family and shape has",
            [name for name in arrived if name not in expected],
        ),
    ):
        if names:
            more = f" and {len(names) - 5} more" if names[5:] else ""
            raise CheckpointError(f"{source}: {what}: {', '.join(names[:5])}{more}")
    for name, shape in expected.items():
        if tuple(arrived[name]) != shape:
            raise CheckpointError(
                f"{source}: tensor {name} has shape {list(arrived[name])}; "
                f"the hyperparameters ask for {list(shape)}"
            )


def joined(parts: list[Part], tensor: Callable[[str], np.ndarray]) -> np.ndarray:
    """The tensor of ours that they make. tensor: a file's tensor by its name."""
    rows = []
    for part in parts:
        numbers = tensor(part.name)
        if part.heads:
            apart = numbers.reshape(part.heads, -1, 2, *numbers.shape[1:])
            numbers = apart.swapaxes(1, 2).reshape(numbers.shape)
        rows.append(numbers)
    whole = rows[0] if len(rows) == 1 else np.concatenate(rows)
    return whole.T if parts[0].turned else whole


def divided(parts: list[Part], numbers: np.ndarray) -> Iterator[tuple[Part, np.ndarray]]:
    """The way back: each part with its numbers as they are stored."""
    rows = numbers.T if parts[0].turned else numbers
    begin = 0
    for part in parts:
        own = rows[begin : begin + part.shape[0]]
        begin += part.shape[0]
        if part.heads:
            beside = own.reshape(part.heads, 2, -1, *own.shape[1:])
            own = beside.swapaxes(1, 2).reshape(own.shape)
        yield part, np.ascontiguousarray(own)
