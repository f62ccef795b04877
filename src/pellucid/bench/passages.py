"""What speculation is measured on: beginnings out of a file of real texts."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from ..data.files import find_files
from ..data.sources import Sources
from ..errors import InputError

__all__ = ["passages"]

_MOST = 2000  # documents that are looked at
_CHARACTERS = 1500  # of a passage


def passages(path: Path, n: int = 8) -> list[str]:
    """path: as evaluation reads it -> at most n texts from it, as evenly apart as there are: of
    documents their beginnings; where there is one alone, of its parts, each from a line's start if
    there is one.

    Raises InputError for a file without texts.
    """
    found = Sources(files=find_files([path])).documents()
    documents = ["".join(each.pieces()) for each in islice(found, _MOST) if each.turns is None]
    if len(documents) == 1:
        whole = documents[0]
        cuts = [len(whole) * i // n for i in range(n)]
        documents = [whole[(whole.find("\n", cut) + 1 or cut) if cut else 0 :] for cut in cuts]
    documents = [each[:_CHARACTERS] for each in documents if each.strip()]
    if not documents:
        raise InputError(f"{path} has no text to go on from")
    n = min(n, len(documents))
    return [documents[len(documents) * i // n] for i in range(n)]
