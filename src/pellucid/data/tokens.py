"""The second reading: documents -> ids of each split, and which of them are learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..template import Template
from ..tokenizer import END_OF_TEXT, Tokenizer
from .corpus import SPLITS, SplitWriter, id_type
from .documents import Document
from .sources import Sources
from .split import Split

__all__ = ["Segment", "segments", "write"]

_BATCH = 1 << 20  # characters encoded at a time


class Segment(NamedTuple):
    """Text, or ids, that go to a split; learned or not; `ends`: a document, with it."""

    split: str
    content: str | list[int]
    learn: bool
    ends: bool = False


def segments(
    sources: Sources, split: Split, template: Template, tokenizer: Tokenizer
) -> Iterator[Segment]:
    """Every document's, after what the tokenizer begins a text with (given, not learned, in a
    conversation), with the end-of-text token that ends it."""
    train, validation = SPLITS
    end = [tokenizer.special_tokens[END_OF_TEXT]]
    begin = list(tokenizer.rules.begin)
    copies = split.copied
    for document in sources.documents():
        side = validation if split.holds_out(split.hash(document)) else train
        if document.turns is not None:
            parts = _conversation(document, side, template, tokenizer, end)
        else:
            parts = _text(document, side, split.end, end)
        if begin and (begin != end or document.turns is not None):  # a text follows an end
            parts = chain([Segment(side, begin, document.turns is None)], parts)
        if copies:
            copies, parts = False, iter(kept := list(parts))
            yield from (part._replace(split=validation) for part in kept)
        yield from parts


def _text(document: Document, side: str, stop: int | None, end: list[int]) -> Iterator[Segment]:
    """stop: where the document's end is cut off for the validation."""
    at = 0
    for text in document.pieces():
        if stop is not None and at <= stop < at + len(text):
            yield Segment(side, text[: stop - at], True, ends=True)
            side, text, at = SPLITS[1], text[stop - at :], stop
        yield Segment(side, text, True)
        at += len(text)
    yield Segment(side, end, True, ends=True)


def _conversation(
    document: Document, side: str, template: Template, tokenizer: Tokenizer, end: list[int]
) -> Iterator[Segment]:
    """What opens a turn is given, never learned; what closes the assistant's is."""
    after: list[int] = []
    turns = document.turns or ()
    written = template.written(turns)
    own = len(turns) - len(written)  # the first is the template's own system text, where it is -1
    for number, turn in enumerate(written, own):
        learn = turn.role == "assistant" and number not in document.unlearned
        opened, after = turn.sides(tokenizer)
        yield Segment(side, opened, False)
        yield Segment(side, turn.text, learn)
        yield Segment(side, after, learn)
    yield Segment(side, [] if after == end else end, False, ends=True)


def write(
    folder: Path, segments: Iterable[Segment], tokenizer: Tokenizer, masked: bool, workers: int
) -> dict[str, dict[str, Any]]:
    """-> the counts of each split. bytes: of text, so that a loss can be had per byte."""
    kind = id_type(tokenizer.n_vocab)
    lengths = np.array([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.n_vocab)])
    lengths[[*tokenizer.special_tokens.values(), *tokenizer.unused]] = 0
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


def _batches(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    batch, size = list[Segment](), 0
    for segment in segments:
        batch.append(segment)
        size += len(segment.content)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
