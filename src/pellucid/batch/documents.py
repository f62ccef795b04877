"""The documents of a corpus, each with an id that stays the same wherever the corpus lies."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ..data.files import File, find_files
from ..data.sources import Sources
from ..template import Message

__all__ = ["Item", "Reading", "named_files"]


class Item(NamedTuple):
    """id: the file's name below the folder that was given, and the line where it has several.
    text: of a conversation empty. turns: of a conversation, without a last reply."""

    id: str
    text: str
    turns: tuple[Message, ...] = ()

    @property
    def sha256(self) -> str:
        """Of what is said."""
        said = json.dumps(self.turns) if self.turns else self.text
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which rows and parts of files are documents; see `data.sources.Sources`."""

    text_field: str | None = None
    turns_field: str | None = None
    split_at: str | None = None
    skip_bad: bool = False

    def items(self, file: File, name: str, bad: list[str] | None = None) -> Iterator[Item]:
        """name: what ids begin with. bad: gets what was left out, up to three.

        Raises InputError for a file that cannot be read.
        """
        source = Sources(files=[file], **asdict(self))
        for document in source.documents():
            id = name + document.place.removeprefix(str(file.path))
            if document.turns is None:
                yield Item(id, "".join(document.pieces()))
                continue
            turns = document.turns
            while turns and turns[-1].role == "assistant":
                turns = turns[:-1]  # it is what is to be generated
            if turns:
                yield Item(id, "", turns)
        if bad is not None:
            bad += source.first_bad


def named_files(texts: Iterable[Any], without: Any = None) -> list[tuple[File, str]]:
    """Files, folders and globs -> each file, and what it is called: its name below the folder that
    was given, or its path where two have the same. Raises InputError for what is not there."""
    files: Sequence[File] = find_files(texts, without)
    counts = Counter(file.name for file in files)
    return [(file, file.name if counts[file.name] == 1 else str(file.path)) for file in files]
