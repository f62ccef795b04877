"""A file, or several -> what is measured on them, read as training reads its texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..chat import choose_template
from ..data.documents import Document
from ..data.files import ROWS, BadDocument, find_files
from ..data.rows import rows
from ..data.sources import Sources
from ..errors import InputError
from .against import Divergence, divergence
from .likelihood import (
    ConversationPerplexity,
    Perplexity,
    Turn,
    Words,
    conversation_perplexity,
    perplexity,
)
from .shots import Shots
from .tasks import TaskScore, blimp, hellaswag, lambada

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["KINDS", "guess_kind", "score_file", "texts"]

KINDS = ("perplexity", "lambada", "hellaswag", "blimp")
_SHOWN = ("lambada", "hellaswag")  # what the GPT-3 paper asks after examples

Score = Perplexity | ConversationPerplexity | TaskScore | Divergence
Item = TypeVar("Item")


def guess_kind(path: str | os.PathLike[str]) -> str:
    """What a file is for, by the fields of its first row, or its name."""
    file = find_files([path])[0]
    if file.kind in ROWS:
        readable = rows(file.path, on_bad=lambda _: None)
        fields = next((row.fields for row in readable), {})
        if "sentence_good" in fields:
            return "blimp"
        if "endings" in fields:
            return "hellaswag"
    return "lambada" if "lambada" in Path(file.name).name.lower() else "perplexity"


def score_file(
    gpt: GPT,
    path: str | os.PathLike[str],
    kind: str,
    *,
    stride: int | None = None,
    window: int | None = None,
    limit: int | None = None,
    text_field: str | None = None,
    turns_field: str | None = None,
    split_at: str | None = None,
    skip_bad: bool = False,
    batch: int | None = None,
    shots: int = 0,
    shots_from: str | os.PathLike[str] | None = None,
    shots_seed: int = 1234,
    cloze: bool | None = None,
    against: GPT | None = None,
    on_progress: Callable[[Any, int], None] | None = None,
) -> tuple[Score, list[str]]:
    """-> (the score, what was left out as bad: a line each for the first three, and a count).

    path: a file, a folder or a glob. kind: one of KINDS. stride, window: of perplexity. limit:
    at most so many documents or examples. text_field, turns_field, split_at: see `Sources`.
    skip_bad: rows that cannot be read or scored are left out. shots: examples before each question
    of lambada and hellaswag, drawn from shots_from (None: the others of `path`). cloze: see
    `lambada`. against: the model is held against
    this one (`divergence`), of kind "perplexity" only; a conversation in its template. Raises
    InputError naming file and line of one otherwise.
    """
    if against is not None and kind != "perplexity":
        raise InputError(f"a model is held against another on texts, not on {kind}")
    if (shots or shots_from) and kind not in _SHOWN:
        raise InputError(f"examples are shown before {' and '.join(_SHOWN)}, not before {kind}")
    if shots_from and not shots:
        raise InputError("give --shots K as well: how many examples to draw")
    if cloze is not None and kind != "lambada":
        raise InputError(f"a blank is filled in lambada, not in {kind}")
    asked = {"text_field": text_field, "turns_field": turns_field, "split_at": split_at}
    reads = {"perplexity": set(asked), "lambada": {"text_field"}}.get(kind, set())
    if kind == "lambada" and split_at == "line":
        del asked["split_at"]
    if idle := [name for name, value in asked.items() if value is not None and name not in reads]:
        raise InputError(
            f"{idle[0]} has no effect on {kind}, whose files have a shape of their own: leave "
            f"--{idle[0].replace('_', '-')} out"
        )
    sources = Sources(
        files=find_files([path]),
        text_field=text_field,
        turns_field=turns_field,
        skip_bad=skip_bad,
        limit=limit,
        split_at="line" if kind == "lambada" else split_at,
    )
    lined = sources.split_at is not None or all(file.kind in ROWS for file in sources.files)
    if limit is not None and not lined and len(sources.files) == 1:
        raise InputError(f"limit counts documents, and {path} is one: it needs a file of rows")
    score: Score
    windows = {"stride": stride, "window": window}
    if against is not None:
        documents = texts(gpt, sources)
        score = divergence(gpt, against, documents, **windows, on_progress=on_progress)
    elif kind == "perplexity":
        score = _perplexity(gpt, sources, **windows, batch=batch, on_progress=on_progress)
    else:
        settings: dict[str, Any] = {} if cloze is None else {"cloze": cloze}
        if shots:
            settings["shots"] = _shots(kind, sources, shots, shots_from, shots_seed)
        score = _task(gpt, kind, sources, **settings, batch=batch, on_progress=on_progress)
    return score, _left_out(sources)


def _left_out(sources: Sources) -> list[str]:
    more = sources.n_bad - len(sources.first_bad)
    return [*sources.first_bad, *([f"and {more:,} more"] if more else [])]


def _perplexity(gpt: GPT, sources: Sources, **settings: Any) -> Perplexity | ConversationPerplexity:
    documents = _some(sources)
    first = next(documents)
    documents = chain([first], documents)
    if first.turns is not None:
        return conversation_perplexity(gpt, map(_turns, documents), **settings)
    wikitext = "wikitext" in sources.files[0].name and sources.files[0].kind not in ROWS
    words: Words = "spaces and line ends" if wikitext else "spaces"
    return perplexity(gpt, map(_text, documents), words=words, **settings)


def _some(sources: Sources) -> Iterator[Document]:
    documents = sources.documents()
    first = next(documents, None)
    if first is None:
        raise InputError(f"{sources.files[0].path} is empty: there is nothing to score")
    return chain([first], documents)


def texts(gpt: GPT, sources: Sources) -> Iterator[str | list[int]]:
    """Texts as they are, a conversation as its turns' ids. Raises InputError where there is none,
    and what `Sources.documents` raises."""
    for document in _some(sources):
        if document.turns is None:
            yield _text(document)
        else:
            template = choose_template(gpt)
            turns = template.written(document.turns)
            yield [token for turn in turns for token in turn.ids(gpt.tokenizer)]


def _turns(document: Document) -> tuple[Turn, ...]:
    if document.turns is None:
        raise InputError(f"{document.place} is a text among conversations: measure them apart")
    return tuple(
        Turn(role, text, weight=0 if number in document.unlearned else 1)
        for number, (role, text) in enumerate(document.turns)
    )


def _text(document: Document) -> str:
    if document.turns is not None:
        raise InputError(f"{document.place} is a conversation among texts: measure them apart")
    return "".join(document.pieces())


def _task(gpt: GPT, kind: str, sources: Sources, **settings: Any) -> TaskScore:
    items = _Placed(_items(kind, sources))
    bad = _skipping(sources, items)
    if kind == "lambada":
        return lambada(gpt, items, on_bad=bad, **settings)
    task = blimp if kind == "blimp" else hellaswag
    return task(gpt, islice(items, sources.limit), on_bad=bad, **settings)


def _items(kind: str, sources: Sources) -> Iterator[tuple[str, Any]]:
    """(where it stands, a text of LAMBADA's or the fields of a row), one by one."""
    if kind == "lambada":
        return ((document.place, _text(document)) for document in sources.documents())
    return (
        (row.place, row.fields)
        for file in sources.files
        for row in rows(file.path, on_bad=sources.skip)
    )


def _shots(
    kind: str, sources: Sources, n: int, path: str | os.PathLike[str] | None, seed: int
) -> Shots:
    """path: None where the examples come from the questions themselves."""
    files = sources.files if path is None else find_files([path])
    whole = Sources(
        files=files,
        text_field=sources.text_field,
        skip_bad=sources.skip_bad,
        split_at=sources.split_at,
    )
    pool = [item for _, item in _items(kind, whole)]
    return Shots(n=n, pool=pool, apart=path is not None, seed=seed)


class _Placed(Generic[Item]):
    """Items one by one; place: where the newest stands."""

    def __init__(self, items: Iterable[tuple[str, Item]]) -> None:
        self._items = items
        self.place = ""

    def __iter__(self) -> Iterator[Item]:
        for place, item in self._items:
            self.place = place
            yield item


def _skipping(sources: Sources, items: _Placed[Any]) -> Callable[[InputError], None]:
    return lambda error: sources.skip(BadDocument(f"{items.place}: {error}"))
