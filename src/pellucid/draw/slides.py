"""What a lecture's slides are made of: a formula, numbers in rows, a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .packing import Pack, plain
from .pictures import Picture

__all__ = ["Formula", "Matrix", "Role", "Table"]

# What numbers are for; each has one colour in a terminal and one on a page.
Role = Literal["", "query", "key", "value", "residual", "mlp", "prediction"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Formula(Picture):
    """One line of mathematics."""

    text: str
    caption: str = ""


_NUMBER = re.compile(r"[<>]?[−+]?[\d,]*\.?\d+%?")


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Picture):
    """Texts in rows. columns: their headings. rows [row][column]; Columns of numbers stand to the
    right; what does not fit is wrapped."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        n = len(self.columns)
        for row in self.rows:
            self._check(len(row) == n, f"{n} columns, but a row of {len(row)}")

    @property
    def numbers(self) -> tuple[bool, ...]:
        """Which columns hold nothing but numbers."""
        return tuple(
            bool(self.rows) and all(_NUMBER.fullmatch(row[i]) for row in self.rows)
            for i in range(len(self.columns))
        )

    def to_dict(self, pack: Pack = plain) -> dict[str, Any]:
        """With `numbers`, as above."""
        return super().to_dict(pack) | {"numbers": list(self.numbers)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(Picture):
    """values [row, column], written out. rows: their labels. columns: theirs; without any, each
    row is an array, of which as many numbers are written as fit. corner: what the labels are.
    followed: the row that is looked at, which stays in sight. ground: whether the numbers, 0…1,
    stand on coloured grounds. role: what they are for. What is −∞ is a pair that may not meet."""

    values: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...] = ()
    corner: str = ""
    followed: int = 0
    ground: bool = False
    role: Role = ""
    caption: str = ""

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        self._check(len(shape) == 2, f"values [row, column], not {shape}")
        self._check(shape[0] == len(self.rows), f"{len(self.rows)} rows, but values {shape}")
        self._check(
            len(self.columns) in (0, shape[1]), f"{len(self.columns)} columns, but values {shape}"
        )
        self._check(0 <= self.followed < shape[0], f"row {self.followed} of {shape[0]}")
