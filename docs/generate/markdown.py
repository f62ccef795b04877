"""Pictures in Markdown: the primitives of pellucid.draw as tables and code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pellucid.draw.notation import head_name, percent
from pellucid.draw.pictures import Distribution, Heads, Heat, Lens, Lines, Picture, Tabs
from pellucid.draw.slides import Formula, Matrix, Table
from pellucid.visible import visible

__all__ = ["code", "drawn", "number", "row", "table", "token"]


def drawn(picture: Picture) -> Iterator[str]:
    """The blocks of one picture."""
    blocks = list(_PICTURES[type(picture)](picture))
    if picture.caption and blocks and not isinstance(picture, Tabs):
        yield f"{picture.caption.rstrip('.')}:"
    yield from blocks


def token(text: str) -> str:
    """A token as code, its space to be seen."""
    return f"`{visible(text)}`"


def number(value: float, digits: int = 2) -> str:
    text = f"{value:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def row(values: np.ndarray, digits: int = 2) -> str:
    """An array as the slides write it: [ -1.23, 0.73, -0.32 ]"""
    return f"[ {', '.join(f'{number(float(v), digits):>{digits + 3}}' for v in values)} ]"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(text: str) -> str:
    return f"```\n{text}\n```"


def _plain(text: str) -> str:
    """As it is, in a cell."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _lines(picture: Lines) -> Iterator[str]:
    yield " ".join(picture.lines)


def _formula(picture: Formula) -> Iterator[str]:
    yield code(picture.text)


def _table(picture: Table) -> Iterator[str]:
    rows = [[_plain(cell) for cell in cells] for cells in picture.rows]
    yield table(list(picture.columns), rows)


def _matrix(picture: Matrix) -> Iterator[str]:
    if not picture.columns:
        width = max(map(len, picture.rows)) + 1
        lines = zip(picture.rows, picture.values, strict=True)
        yield code("\n".join(f"{f'{label}:':<{width}} {row(values)}" for label, values in lines))
        return

    def cell(i: int, j: int) -> str:
        value = float(picture.values[i, j])
        return "·" if value == -np.inf or (picture.ground and j > i) else number(value)

    n = len(picture.columns)
    yield table(
        [picture.corner, *(f"`{name}`" for name in picture.columns)],
        [[f"`{name}`", *(cell(i, j) for j in range(n))] for i, name in enumerate(picture.rows)],
    )


def _heat(picture: Heat) -> Iterator[str]:
    yield table(
        ["", *map(token, picture.columns)],
        [
            [name, *(number(float(value), 1) for value in values)]
            for name, values in zip(picture.rows, picture.values, strict=True)
        ],
    )


def _heads(picture: Heads) -> Iterator[str]:
    """Where each looks from the position."""
    here = picture.position
    yield f"Where each one looks from {token(picture.tokens[here])}:"
    yield table(
        ["head", *(token(text) for text in picture.tokens[: here + 1])],
        [
            [
                head_name(layer, head),
                *(
                    percent(float(share), whole=True)
                    for share in picture.pattern[i, j, here, : here + 1]
                ),
            ]
            for i, layer in enumerate(picture.layers)
            for j, head in enumerate(picture.heads)
        ],
    )


def _lens(picture: Lens) -> Iterator[str]:
    """What the last position would say."""
    here = token(picture.tokens[-1])
    yield f"What the model would say after {here} if it ended there (logit lens):"
    yield table(
        ["after", "would say", "probability"],
        [
            [
                layer if layer == "embed" else f"L{layer}",
                token(picture.texts[int(picture.top[i, -1, 0])]),
                percent(float(np.exp(picture.logprobs[i, -1, 0]))),
            ]
            for i, layer in enumerate(picture.layers)
        ],
    )


def _tabs(picture: Tabs) -> Iterator[str]:
    for name in picture.unfolded or tuple(picture.pictures)[:1]:
        yield from drawn(picture.pictures[name])


def _nothing(_: Distribution) -> Iterator[str]:
    """A table beside it has the numbers."""
    yield from ()


_PICTURES: dict[type[Picture], Callable[[Any], Iterator[str]]] = {
    Distribution: _nothing,
    Formula: _formula,
    Heads: _heads,
    Heat: _heat,
    Lens: _lens,
    Lines: _lines,
    Matrix: _matrix,
    Table: _table,
    Tabs: _tabs,
}
