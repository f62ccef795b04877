"""Which tokens' embeddings lie nearest to a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..draw.pictures import Bars, Section
from ..errors import InputError
from .finding import Finding, highest, token_id, token_names
from .threads import side_by_side

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Neighbours", "neighbours"]

_ROWS = 2048  # of the table that are looked at together


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours(Finding):
    """The nearest tokens, nearest first. similarity [k]: cosine (-1…1) or dot product."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    similarity: np.ndarray
    by: Literal["cosine", "dot"]

    def sections(self) -> list[Section]:
        what = "cosine similarity" if self.by == "cosine" else "dot product"
        bars = Bars(
            labels=self.tokens,
            values=self.similarity,
            tokens=True,
            high=1.0 if self.by == "cosine" else None,
        )
        return [
            Section(
                kind="Neighbours",
                title="Nearest tokens",
                how="The tokens whose embeddings lie nearest to the vector, nearest first, by "
                f"{what}.",
                pictures=(bars,),
            )
        ]


def neighbours(
    gpt: GPT,
    vector: str | int | np.ndarray,
    k: int = 10,
    *,
    by: Literal["cosine", "dot"] = "cosine",
) -> Neighbours:
    """The k tokens nearest to any vector [n_embd], or to a token's own embedding (its text or
    id; the token itself comes first). Without the final norm "dot" is the logit lens."""
    if by not in ("cosine", "dot"):
        raise InputError(f"by must be cosine or dot, not {by!r}")
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    table = gpt.model.backend.to_numpy(gpt.model.embedding())
    known: Any = vector
    if isinstance(vector, str | int | np.integer):
        known = table[token_id(gpt, vector if isinstance(vector, str) else int(vector))]
    array = np.asarray(known, table.dtype)
    if array.shape != (gpt.hparams.n_embd,):
        raise InputError(
            f"the vector must have n_embd = {gpt.hparams.n_embd} numbers, "
            f"not the shape {list(array.shape)}"
        )
    similarity = np.empty(len(table), table.dtype)
    length = np.linalg.norm(array) if by == "cosine" else 1.0

    def measure(some: slice) -> None:
        rows = table[some]
        similarity[some] = rows @ array
        if by == "cosine":
            lengths = np.linalg.norm(rows, axis=1) * length
            similarity[some] /= np.maximum(lengths, np.finfo(table.dtype).tiny)

    side_by_side(measure, len(table), _ROWS, gpt.model.backend)
    nearest = highest(similarity, k)
    return Neighbours(
        ids=tuple(int(i) for i in nearest),
        tokens=token_names(gpt, nearest),
        similarity=similarity[nearest],
        by=by,
    )
