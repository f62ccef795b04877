"""A tokenised corpus on disk: memory-mapped token ids with document boundaries.

card.json                what is in it: counts, sources, the tokenizer's hash
tokenizer/               the tokenizer that made the ids
train.ids                every document's ids one after the other, little-endian u16 or u32
train.documents          where each document begins, and the end of the last, u64
train.learn              one byte a token, 1 where it is to be learned; only with conversations
validation.ids, ...      the same of the held-out documents
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import InputError
from .files import sha256

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["SPLITS", "Corpus", "SplitWriter", "Tokens", "id_type", "open_corpus"]

SPLITS = ("train", "validation")
CARD = "card.json"
TOKENIZER = "tokenizer"
_OFFSET = np.dtype("<u8")


@dataclass(frozen=True, slots=True)
class Tokens:
    """One split. ids [n_tokens]; documents [n_documents + 1], document i is
    ids[documents[i]:documents[i + 1]]; learn [n_tokens] of 0 and 1, or None: learn all."""

    ids: np.ndarray
    documents: np.ndarray
    learn: np.ndarray | None = None

    @property
    def n_tokens(self) -> int:
        return len(self.ids)

    @property
    def n_documents(self) -> int:
        return len(self.documents) - 1

    def sha256(self) -> str:
        """As a card has it. It reads all of them."""
        parts = (self.ids, self.documents, self.learn)
        digests = [hashlib.sha256(np.ascontiguousarray(x).data) for x in parts if x is not None]
        return _together(digests)


@dataclass(frozen=True, slots=True)
class Corpus:
    path: Path
    train: Tokens
    validation: Tokens
    card: dict[str, Any]

    def tokenizer(self) -> Tokenizer:
        """Raises InputError when it is not the one that made the ids."""
        from ..tokenizer import Tokenizer

        tokenizer = Tokenizer.from_folder(self.path / TOKENIZER)
        known = self._recorded.get("fingerprint")
        if known not in (None, tokenizer.fingerprint()) and not self._has_its_files():
            raise InputError(
                f"{self.path / TOKENIZER} is not the tokenizer that made the ids beside it: make "
                "the corpus again"
            )
        return tokenizer

    @property
    def _recorded(self) -> dict[str, Any]:
        """What the card says of the tokenizer."""
        return self.card.get("tokenizer") or {}

    def _has_its_files(self) -> bool:
        """Whether the tokenizer's files are those that were written, byte for byte. The rules of a
        tokenizer had another fingerprint before 2026-11-26."""
        written = self._recorded.get("sha256") or {}
        return bool(written) and written == {
            path.name: sha256(path) for path in (self.path / TOKENIZER).iterdir() if path.is_file()
        }

    def fingerprint(self) -> str:
        """sha256 of all that a run learns from: the ids, their bounds and masks, and what the ids
        mean. It reads all of them. Raises InputError where they are not what the card says."""
        tokenizer = self.tokenizer()
        known = self._recorded.get("fingerprint") or tokenizer.fingerprint()
        digest = hashlib.sha256(known.encode())
        for split in SPLITS:
            written, own = self.card["splits"][split].get("sha256"), getattr(self, split).sha256()
            if written not in (None, own):
                raise InputError(
                    f"the files {split}.* of {self.path} have changed since they were written: "
                    "make the corpus again"
                )
            digest.update(own.encode())
        return digest.hexdigest()


def id_type(n_vocab: int) -> np.dtype[Any]:
    """The narrowest type that holds every id."""
    return np.dtype("<u2" if n_vocab <= 1 << 16 else "<u4")


def open_corpus(folder: str | os.PathLike[str]) -> Corpus:
    """Map a folder that `pellucid data` wrote; nothing is read until it is used.

    Raises InputError naming the file that is missing, cut short or inconsistent.
    """
    path = Path(folder)
    if not (path / CARD).is_file():
        raise InputError(
            f"{path} is no tokenised corpus (it has no {CARD}): pellucid data TEXTS {path}"
        )
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        kind = id_type(int(card["n_vocab"]))
        masked = bool(card["masked"])
        train, validation = (
            _open_split(path, split, kind, masked, card["splits"][split]) for split in SPLITS
        )
    except InputError:  # it names another file than the card
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / CARD} is damaged ({error!r}): make the corpus again") from error
    if not train.n_tokens:
        raise InputError(f"{path} has no tokens to train on")
    return Corpus(path=path, train=train, validation=validation, card=card)


def _open_split(
    folder: Path, split: str, kind: np.dtype[Any], masked: bool, counts: dict[str, Any]
) -> Tokens:
    n_tokens, n_documents = int(counts["tokens"]), int(counts["documents"])
    documents = _map(folder / f"{split}.documents", _OFFSET, n_documents + 1)
    if (
        documents[0] != 0
        or documents[-1] != n_tokens
        or (np.diff(documents.astype("i8")) < 0).any()
    ):
        raise InputError(f"{folder}/{split}.documents does not fit the tokens: make it again")
    ids = _map(folder / f"{split}.ids", kind, n_tokens)
    learn = _map(folder / f"{split}.learn", np.dtype("u1"), n_tokens) if masked else None
    return Tokens(ids=ids, documents=documents, learn=learn)


def _map(path: Path, kind: np.dtype[Any], count: int) -> np.ndarray:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} is missing: make the corpus again") from error
    if size != count * kind.itemsize:
        raise InputError(
            f"{path} has {size} bytes, its card says {count * kind.itemsize}: make the corpus again"
        )
    return np.memmap(path, kind, "r") if count else np.empty(0, kind)  # an empty map is refused


def _together(digests: Sequence[Any]) -> str:
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


class SplitWriter:
    """Appends documents to one split's files; memory stays small. Closes with the block."""

    def __init__(self, folder: Path, split: str, n_vocab: int, masked: bool) -> None:
        self._kind = id_type(n_vocab)
        self.n_tokens = 0
        self.n_documents = 0
        self.n_learned = 0
        self._ids = open(folder / f"{split}.ids", "wb")  # noqa: SIM115 - closed in __exit__
        self._documents = open(folder / f"{split}.documents", "wb")  # noqa: SIM115
        self._learn = open(folder / f"{split}.learn", "wb") if masked else None  # noqa: SIM115
        # Of ids, documents and masks: what they are is known when they are written.
        self._digests = [hashlib.sha256() for _ in range(3 if masked else 2)]
        self._begins(0)

    def add(self, ids: Sequence[int] | np.ndarray, learn: Sequence[int] | None = None) -> None:
        """One document's ids; learn: 0 or 1 for each of them, None for all 1."""
        self.extend(ids, learn)
        self.end_document()

    def extend(
        self, ids: Sequence[int] | np.ndarray, learn: Sequence[int] | np.ndarray | None = None
    ) -> None:
        """A part of a document, which goes on until `end_document`."""
        content = np.asarray(ids, self._kind).tobytes()
        self._digests[0].update(content)
        self._ids.write(content)
        self.n_tokens += len(ids)
        mask = np.ones(len(ids), "u1") if learn is None else np.asarray(learn, "u1")
        self.n_learned += int(mask.sum())
        if self._learn is not None:
            self._digests[2].update(mask.tobytes())
            self._learn.write(mask.tobytes())

    def end_document(self) -> None:
        self.n_documents += 1
        self._begins(self.n_tokens)

    def _begins(self, at: int) -> None:
        content = np.asarray([at], _OFFSET).tobytes()
        self._digests[1].update(content)
        self._documents.write(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._ids, self._documents, self._learn):
            if file is not None:
                file.close()

    def counts(self) -> dict[str, Any]:
        """What a card says of the split."""
        return {
            "tokens": self.n_tokens,
            "documents": self.n_documents,
            "learned": self.n_learned,
            "sha256": _together(self._digests),
        }
