"""Texts -> a tokenised corpus that a run learns from: vocabulary, split, ids, loss mask, card.

The sources are read twice: once to look (how much there is, what to hold out, a sample for the
vocabulary), once to write. Neither keeps more of them in memory than the sample.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError, InputError
from ..files import new_folder
from ..template import TEMPLATES, Template
from ..tokenizer import END_OF_TEXT, Tokenizer
from .corpus import CARD, SPLITS, TOKENIZER, SplitWriter, id_type
from .sources import Document, Sources, find_files

__all__ = ["prepare"]

SAMPLE = 32 << 20  # bytes of text that a vocabulary is learned from, at most
_BATCH = 1 << 20  # characters encoded at a time
_LEAST_TAIL = 8192  # characters held out of a lone text: some rows for validation

Progress = Callable[[str, int, int], None]  # what is done, bytes read, bytes in all (0: unknown)


def prepare(
    texts: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    n_vocab: int = 4096,
    validation: float = 0.01,
    template: str = "roles",
    learn_all: bool = False,
    text_field: str | None = None,
    turns_field: str | None = None,
    split_at: str | None = None,
    skip_bad: bool = False,
    limit: int | None = None,
    seed: int = 0,
    workers: int = 1,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the folder that `open_corpus` opens, whole or not at all. Returns its card.

    texts: files, folders, globs (see `find_files`); the fields down to limit: see `Sources`.
    tokenizer: a model's name or folder, a corpus, or None: a vocabulary of n_vocab tokens is
    learned. validation: the share of documents held out, chosen by a hash of their content and
    the seed, so that equal documents are on one side in whatever order they come. template: how
    turns become tokens. learn_all: everybody's words are learned, not the assistant's alone.
    workers: threads that encode. The same texts and settings give the same files.
    Raises InputError for a setting out of range and a source that cannot be read, and
    CheckpointError when the folder cannot be written.
    """
    if not 0 <= validation < 1:
        raise InputError(f"validation is a share of the documents, 0 to below 1, not {validation}")
    for name, value, least in (("workers", workers, 1), ("limit", limit, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")
    if template not in TEMPLATES:
        raise InputError(f"no chat template {template!r}; there are {', '.join(TEMPLATES)}")
    chosen = TEMPLATES[template]
    target = Path(out)
    files = find_files(texts, without=target)
    sources = Sources(files, text_field, turns_field, split_at, skip_bad, limit)
    given = None if tokenizer is None else _given(tokenizer)
    if given is not None and END_OF_TEXT not in given.special_tokens:
        raise InputError(f"the tokenizer has no {END_OF_TEXT}, which ends each document")
    special = _special_tokens(chosen)
    if given is None and n_vocab < 256 + len(special):
        raise InputError(f"n_vocab must be at least {256 + len(special)}, not {n_vocab}")
    with new_folder(target, _check_replaceable, error=CheckpointError) as partial:
        sample = None if given is not None else _Sample(seed)
        sources.on_read = _told("reading", sources, on_progress)
        split = _survey(sources, validation, seed, sample)
        if given is None:
            assert sample is not None
            if on_progress is not None:
                on_progress("vocabulary", 0, 0)
            given = Tokenizer.train(sample.texts(), n_vocab, special)
        if split.conversations:
            chosen.check(given)
        (partial / TOKENIZER).mkdir()
        given.save(partial / TOKENIZER)
        sources.on_read = _told("encoding", sources, on_progress)
        segments = _segments(sources, split, chosen, given)
        first_bad = sources.first_bad
        for file in files:  # a card goes on to others: it says nothing of this machine
            first_bad = first_bad and first_bad.replace(str(file.path), file.name)
        masked = bool(split.conversations) and not learn_all
        counts = _write(partial, segments, given, masked, workers)
        card = {
            "n_vocab": given.n_vocab,
            "masked": masked,
            "splits": counts,
            "conversations": split.conversations,
            "template": template if split.conversations else None,
            "tokenizer": {
                "sample_bytes": None if sample is None else sample.n_bytes,
                "sha256": _sha256(sorted((partial / TOKENIZER).iterdir())),
            },
            "seed": seed,
            "validation": validation,
            "reading": {
                "text_field": text_field,
                "turns_field": turns_field,
                "split_at": split_at,
                "limit": limit,
            },
            "sources": [
                {
                    "file": file.name,
                    "bytes": file.size,
                    "sha256": _sha256([file.path])[file.path.name],
                    "documents": sources.n_documents.get(file.name, 0),
                }
                for file in files
            ],
            "skipped": {
                "bad": sources.n_bad,
                "first": first_bad,
                "empty": sources.n_empty,
            },
            "notes": split.notes,
        }
        text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
        (partial / CARD).write_bytes(text.encode())
    return card


def _told(stage: str, sources: Sources, on_progress: Progress | None) -> Callable[[int], None]:
    total = sources.n_bytes
    return lambda n_read: on_progress(stage, n_read, total) if on_progress else None


def _check_replaceable(folder: Path) -> None:
    """Only an empty folder, or a corpus and nothing else, may be written over."""
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the name of a folder")
    ours = {CARD, TOKENIZER} | {
        f"{split}.{part}" for split in SPLITS for part in ("ids", "documents", "learn")
    }
    for path in folder.iterdir():
        if path.name not in ours:
            raise InputError(
                f"{folder} holds {path.name}, which no corpus has; writing there would remove "
                "it: choose another folder"
            )


def _given(tokenizer: str | os.PathLike[str] | Tokenizer) -> Tokenizer:
    from ..checkpoint import load_tokenizer

    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    for folder in (Path(tokenizer), Path(tokenizer) / TOKENIZER):
        if (folder / "vocab.json").is_file():
            return Tokenizer.from_folder(folder)
    return load_tokenizer(tokenizer)


def _special_tokens(template: Template) -> list[str]:
    sides = ([frame[at] for frame in template.frames.values()] for at in (0, 1))
    parts = [part for side in sides for frame in side for part in frame if part != "\n"]
    return list(dict.fromkeys([END_OF_TEXT, *parts]))


def _sha256(files: Iterable[Path]) -> dict[str, str]:
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


# The first reading


class _Sample:
    """Of all pieces of text those of the lowest hashes, up to SAMPLE bytes: spread over the
    sources, and the same in whatever order they come."""

    def __init__(self, seed: int) -> None:
        self.n_bytes = 0
        self._key = f"sample {seed}"
        self._heap: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        heapq.heappush(self._heap, (-_hash(text, self._key), text))
        self.n_bytes += len(text.encode())
        while self.n_bytes > SAMPLE and len(self._heap) > 1:
            self.n_bytes -= len(heapq.heappop(self._heap)[1].encode())

    def texts(self) -> Iterator[str]:
        while self._heap:
            yield heapq.heappop(self._heap)[1]


def _hash(text: str, key: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=key.encode()[:64])
    return int.from_bytes(digest.digest(), "big")


@dataclass
class _Split:
    """Which documents are held out: by their hash, in a small corpus those named by it; of a
    lone text what follows the first `end` characters; of equal documents a copy."""

    below: int
    seed: int
    held_out: int | None = None  # this hash alone
    end: int | None = None
    copied: bool = False
    conversations: int = 0
    notes: list[str] = field(default_factory=list)

    def hash(self, document: Document) -> int:
        """Of its beginning, a piece; space around it does not count."""
        return _hash(document.begin.strip(), f"split {self.seed}")

    def holds_out(self, content: int) -> bool:
        return content < self.below if self.held_out is None else content == self.held_out


def _survey(
    sources: Sources,
    validation: float,
    seed: int,
    sample: _Sample | None,
) -> _Split:
    """Read everything once -> how to split it. Fills the sample, of what is learned from.

    Raises InputError when there is no document.
    """
    split = _Split(int(validation * 2**64), seed)
    sizes: dict[int, int] | None = {}  # hash -> characters, as long as one side is empty
    count, total, marked = 0, 0, 0
    sides = set[bool]()
    for document in sources.documents():
        content = split.hash(document)
        held_out = split.holds_out(content)
        count += 1
        split.conversations += document.turns is not None
        size = 0
        for text in _texts(document):
            size += len(text)
            marked += END_OF_TEXT in text
            if sample is not None and not held_out:
                sample.add(text)
        total += size
        if sizes is not None:
            sides.add(held_out)
            sizes[content] = sizes.get(content, 0) + size
            if len(sides) == 2:
                sizes = None
    if not count:
        bad = f": {sources.n_bad} are bad, first {sources.first_bad}" if sources.n_bad else ""
        raise InputError(f"there is no document with text in {len(sources.files)} files{bad}")
    if marked:
        split.notes.append(
            f"{END_OF_TEXT} stands in the texts {marked} times or more, as ordinary letters; if "
            f"it ends documents there, split them: --split-at '{END_OF_TEXT}'"
        )
    if sizes is None or not validation:
        return split
    if sample is not None and sides == {True}:  # all would have been held out
        for document in sources.documents():
            for text in _texts(document):
                sample.add(text)
    if len(sizes) > 1:
        share = validation * total
        split.held_out = min(sizes, key=lambda content: (abs(sizes[content] - share), content))
        split.notes.append(
            "no document fell to one of the two splits by its hash; the one whose size is "
            "nearest to the share asked for is the validation"
        )
        return split
    split.below = 0
    if count == 1 and not split.conversations:
        tail = max(int(validation * total), min(total // 10, _LEAST_TAIL))
        split.end = _place_to_cut(sources, total - tail)
    if split.end is not None:
        split.notes.append("the corpus is one document: its end is the validation")
    else:
        split.copied = True
        split.notes.append(
            "all documents are the same: the validation is a copy, and measures memory alone"
        )
    return split


def _texts(document: Document) -> Iterator[str]:
    if document.turns is not None:
        yield from (text for _, text in document.turns)
    else:
        yield document.begin
        yield from document.rest


def _place_to_cut(sources: Sources, least: int) -> int | None:
    """Where in the only document, from `least` characters on, a space or line end follows a
    word and text follows that; None when there is no such place."""
    at = 0
    for text in (text for document in sources.documents() for text in _texts(document)):
        for place in range(max(1, least - at), len(text)):
            if text[place] in " \n" and not text[place - 1].isspace() and text[place:].strip():
                return at + place
        at += len(text)
    return None


# The second reading


class _Segment(NamedTuple):
    """Text, or ids, that go to a split; learned or not; `ends`: a document, with it."""

    split: str
    content: str | list[int]
    learn: bool
    ends: bool = False


def _segments(
    sources: Sources, split: _Split, template: Template, tokenizer: Tokenizer
) -> Iterator[_Segment]:
    train, validation = SPLITS
    end = [tokenizer.special_tokens[END_OF_TEXT]]
    copies = split.copied
    for document in sources.documents():
        side = validation if split.holds_out(split.hash(document)) else train
        if document.turns is not None:
            segments = _conversation(document.turns, side, template, tokenizer, end)
        else:
            segments = _text(document, side, split.end, end)
        if copies:
            copies, segments = False, iter(held := list(segments))
            yield from (segment._replace(split=validation) for segment in held)
        yield from segments


def _text(document: Document, side: str, stop: int | None, end: list[int]) -> Iterator[_Segment]:
    """stop: where the document's end is cut off for the validation."""
    at = 0
    for text in _texts(document):
        if stop is not None and at <= stop < at + len(text):
            yield _Segment(side, text[: stop - at], True, ends=True)
            side, text, at = SPLITS[1], text[stop - at :], stop
        yield _Segment(side, text, True)
        at += len(text)
    yield _Segment(side, end, True, ends=True)


def _conversation(
    turns: Iterable[tuple[str, str]],
    side: str,
    template: Template,
    tokenizer: Tokenizer,
    end: list[int],
) -> Iterator[_Segment]:
    """What opens a turn is given, never learned; what closes the assistant's is."""
    after: list[int] = []
    for role, text in turns:
        frame = template.turn(tokenizer, role, [-1])  # type: ignore[arg-type]
        learn, middle = role == "assistant", frame.index(-1)
        after = frame[middle + 1 :]
        yield _Segment(side, frame[:middle], False)
        yield _Segment(side, text, learn)
        yield _Segment(side, after, learn)
    yield _Segment(side, [] if after == end else end, False, ends=True)


def _write(
    folder: Path, segments: Iterable[_Segment], tokenizer: Tokenizer, masked: bool, workers: int
) -> dict[str, dict[str, int]]:
    """-> the counts of each split. bytes: of text, so that a loss can be had per byte."""
    kind = id_type(tokenizer.n_vocab)
    lengths = np.array([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.n_vocab)])
    lengths[list(tokenizer.special_tokens.values())] = 0
    n_bytes = {split: np.zeros(2, np.int64) for split in SPLITS}  # all, learned
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(SplitWriter(folder, split, tokenizer.n_vocab, masked))
            for split in SPLITS
        }
        for batch in _batches(segments):
            texts = [part.content for part in batch if isinstance(part.content, str)]
            encoded = iter(tokenizer.encode_many(texts, workers))
            ids, learn = list[int](), bytearray()
            for at, part in enumerate(batch, 1):
                new = next(encoded) if isinstance(part.content, str) else part.content
                ids += new
                learn += (b"\1" if part.learn or not masked else b"\0") * len(new)
                if part.ends or at == len(batch) or batch[at].split != part.split:
                    mask, array = np.frombuffer(bytes(learn), "u1"), np.array(ids, kind)
                    writers[part.split].extend(array, mask)
                    bytes_each = lengths[array]
                    n_bytes[part.split] += bytes_each.sum(), bytes_each[mask == 1].sum()
                    ids, learn = [], bytearray()
                if part.ends:
                    writers[part.split].end_document()
    return {
        split: {
            **writers[split].counts(),
            "bytes": int(n_bytes[split][0]),
            "learned_bytes": int(n_bytes[split][1]),
        }
        for split in SPLITS
    }


def _batches(segments: Iterable[_Segment]) -> Iterator[list[_Segment]]:
    batch, size = list[_Segment](), 0
    for segment in segments:
        batch.append(segment)
        size += len(segment.content)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
