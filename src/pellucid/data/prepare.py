"""Texts -> a tokenised corpus that a run learns from: vocabulary, split, ids, loss mask, card.

The sources are read twice: once to look (how much there is, what to hold out, a sample for the
vocabulary), once to write. Neither keeps more of them in memory than the sample.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, InputError
from ..files import new_folder
from ..template import Template, look_up
from ..tokenizer import END_OF_TEXT, Tokenizer
from .corpus import CARD, SPLITS, TOKENIZER
from .files import find_files, sha256
from .sources import Sources
from .split import Sample, survey
from .tokens import segments, write

__all__ = ["N_VOCAB", "Progress", "write_corpus"]

N_VOCAB = 4096  # tokens of a vocabulary to learn, where nobody says
Progress = Callable[[str, int, int], None]  # what is done, bytes read, bytes in all (0: unknown)


def write_corpus(
    texts: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    n_vocab: int = N_VOCAB,
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

    texts: files, folders, globs (see `find_files`); text_field down to limit: see `Sources`.
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
    target, chat = Path(out), look_up(template)
    sources = Sources(
        files=find_files(texts, without=target),
        text_field=text_field,
        turns_field=turns_field,
        split_at=split_at,
        skip_bad=skip_bad,
        limit=limit,
        learn_all=learn_all,
    )
    learned = tokenizer is None
    known = None if tokenizer is None else _load_tokenizer(tokenizer)
    special = _special_tokens(chat)
    if known is not None and END_OF_TEXT not in known.special_tokens:
        raise InputError(f"the tokenizer has no {END_OF_TEXT}, which ends each document")
    if known is None and n_vocab < 256 + len(special):
        raise InputError(f"n_vocab must be at least {256 + len(special)}, not {n_vocab}")
    with new_folder(target, _check_replaceable, error=CheckpointError) as partial:
        sample = Sample(seed) if known is None else None
        sources.on_read = _told("reading", sources, on_progress)
        split = survey(sources, validation, seed, sample)
        if sample is not None:
            if on_progress is not None:
                on_progress("vocabulary", 0, 0)
            sample_bytes: int | None = sample.n_bytes
            known = Tokenizer.train(sample.texts(), n_vocab, special)
        else:
            sample_bytes = None
        assert known is not None
        if split.conversations:
            chat.check(known)
        (partial / TOKENIZER).mkdir()
        known.save(partial / TOKENIZER)
        sources.on_read = _told("encoding", sources, on_progress)
        masked = bool(split.conversations) and not learn_all
        counts = write(partial, segments(sources, split, chat, known), known, masked, workers)
        if masked and not counts[SPLITS[0]]["learned"]:
            split.notes.append(
                "nothing in it is to be learned: no conversation has a reply of the assistant; "
                "--learn-all learns everybody's words"
            )
        card = {
            "n_vocab": known.n_vocab,
            "masked": masked,
            "splits": counts,
            "conversations": split.conversations,
            "template": template if split.conversations else None,
            "tokenizer": {
                "sample_bytes": sample_bytes,
                "n_vocab": n_vocab if learned else None,  # asked for; there may be fewer
                "fingerprint": known.fingerprint(),
                "sha256": {
                    path.name: sha256(path) for path in sorted((partial / TOKENIZER).iterdir())
                },
            },
            "seed": seed,
            "validation": validation,
            **_read(sources),
            "notes": split.notes,
        }
        text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
        (partial / CARD).write_bytes(text.encode())
    return card


def _read(sources: Sources) -> dict[str, Any]:
    """What a card tells of the sources. It goes on to others: it says nothing of this machine."""
    first_bad = sources.first_bad[0] if sources.first_bad else None
    for file in sources.files:
        first_bad = first_bad and first_bad.replace(str(file.path), file.name)
    return {
        "reading": {
            "text_field": sources.text_field,
            "turns_field": sources.turns_field,
            "split_at": sources.split_at,
            "limit": sources.limit,
        },
        "sources": [
            {
                "file": file.name,
                "bytes": file.size,
                "sha256": sha256(file.path),
                "documents": sources.n_documents.get(file.name, 0),
            }
            for file in sources.files
        ],
        "skipped": {"bad": sources.n_bad, "first": first_bad, "empty": sources.n_empty},
    }


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


def _load_tokenizer(tokenizer: str | os.PathLike[str] | Tokenizer) -> Tokenizer:
    from ..checkpoint import load_tokenizer

    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    for folder in (Path(tokenizer), Path(tokenizer) / TOKENIZER):
        if (folder / "vocab.json").is_file():
            return Tokenizer.from_folder(folder)
    return load_tokenizer(tokenizer)


def _special_tokens(template: Template) -> list[str]:
    return list(dict.fromkeys([END_OF_TEXT, *template.special]))
