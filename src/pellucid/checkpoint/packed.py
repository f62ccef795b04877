"""A model as a backend packed it, kept beside its checkpoint: made once, then memory-mapped.

    pellucid-int8-6f0c….packed    8 bytes, the header's length; the header, JSON; the numbers

In a checkpoint's folder; a single GGUF's begins with its name, and lies beside it. The name holds a
hash of the checkpoint's files (names, sizes, times of change) and of the packing's version: another
checkpoint, or a newer packing, finds nothing and packs anew. Where the folder may not be written
to, or is of an installed package, or the model is so small that packing takes no time, nothing is
kept.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError
from ..files import MOST_BYTES, new_file
from .contents import READER, Checkpoint, Roles, hparams_from
from .formats import detect, has_tokenizer, only_gguf

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["Part", "find", "keep"]

VERSION = 3
SUFFIX = ".packed"
SMALL = 20_000_000  # parameters of which packing takes a blink
_OF_A_CHECKPOINT = (".json", ".safetensors", ".txt", ".bpe")
_ALIGNED = 64  # bytes: where each array begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A packed weight. shape: of the numbers it stands for. facts: whole numbers, and floats.
    arrays: its bytes."""

    shape: tuple[int, ...]
    facts: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray]


def find(path: Path, dtype: str) -> tuple[Checkpoint, dict[str, Part]] | None:
    """path: of a checkpoint -> what `keep` kept of it, its tokenizer to be read from its own files,
    which are those of then, when a text comes; the checkpoint without tensors. None where there is
    nothing, or nothing that can be used."""
    place = _place(path, dtype)
    if place is None or not place.target.is_file():
        return None
    target = place.target
    try:
        header, data = _open(target)
        hparams = hparams_from(header["hparams"], target)
        parts = {name: _part(entry, data) for name, entry in header["parts"].items()}
        checkpoint = Checkpoint(
            hparams=hparams,
            tensors={},
            card=header["card"],
            template=header["template"],
            path=path,
            roles=Roles.of(header["roles"], hparams.n_vocab, str(target)),
        )
    except (CheckpointError, KeyError, TypeError, ValueError, OSError):
        return None  # not whole, or of another kind: it is made anew
    if not header["tokenizer"]:
        return checkpoint, parts
    from ..tokenizer import Later

    later = Later(place.source, hparams.n_vocab, _read_tokenizer)
    return replace(checkpoint, tokenizer=later), parts


def keep(path: Path, dtype: str, checkpoint: Checkpoint, parts: Mapping[str, Part]) -> Path | None:
    """Write them beside the checkpoint, whole or not at all; an older one of this dtype goes.
    -> the file, None where nothing was kept."""
    place = _place(path, dtype)
    if place is None or checkpoint.hparams.n_params < SMALL:
        return None
    target = place.target
    entries, end = {}, 0
    arrays: list[tuple[int, np.ndarray]] = []
    for name, part in parts.items():
        listed = {}
        for key, array in part.arrays.items():
            arrays.append((end, array))
            listed[key] = [end, array.dtype.str, list(array.shape)]
            end += -(-array.nbytes // _ALIGNED) * _ALIGNED
        entries[name] = {"shape": list(part.shape), "facts": dict(part.facts), "arrays": listed}
    header = {
        "hparams": checkpoint.hparams.to_dict(),
        "card": dict(checkpoint.card),
        "template": checkpoint.template,
        "roles": checkpoint.roles.to_dict(),
        "tokenizer": checkpoint.tokenizer is not None,
        "bytes": end,
        "parts": entries,
    }
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNED)
    with (
        suppress(OSError),
        new_file(target, error=None) as partial,
        open(partial, "wb") as file,
    ):
        file.write(struct.pack("<Q", len(text)) + text)
        for begin, array in arrays:
            file.seek(8 + len(text) + begin)
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        file.truncate(8 + len(text) + end)
    if not target.exists():
        return None
    for old in target.parent.glob(f"{escape(place.begins)}*{SUFFIX}"):
        with suppress(OSError):
            if old != target:
                old.unlink()
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """source: the checkpoint's folder, or GGUF. target: the file that is kept, whose name
    `begins` so whatever its hash."""

    source: Path
    target: Path
    begins: str


def _place(path: Path, dtype: str) -> _Place | None:
    """None for what is not kept: folders of other formats, other files, what pip installed."""
    form, begins = detect(path), f"pellucid-{dtype}-"
    installed = "site-packages" in path.resolve().parts
    if installed or form not in ("pellucid", "hf", "gguf"):
        return None
    if form == "gguf":
        source = only_gguf(path) if path.is_dir() else path
        begins, folder, files, known = f"{source.name}.{begins}", source.parent, [source], True
    elif path.is_dir():
        source = folder = path
        files = [each for each in sorted(path.iterdir()) if each.suffix in _OF_A_CHECKPOINT]
        known = has_tokenizer(path)
    else:
        return None
    digest = hashlib.sha256(f"{VERSION} {dtype} {known}\n".encode())
    for line in _stamps(files):
        digest.update(line.encode())
    target = folder / f"{begins}{digest.hexdigest()[:16]}{SUFFIX}"
    return _Place(source=source, target=target, begins=begins)


def _read_tokenizer(path: Path) -> Tokenizer:
    """Of a checkpoint's folder, or a GGUF."""
    if path.is_dir():
        from ..tokenizer import Tokenizer

        return Tokenizer.from_folder(path)
    from .gguf import read_only_tokenizer

    return read_only_tokenizer(path)


def _stamps(files: Iterable[Path]) -> Iterator[str]:
    for entry in files:
        if entry.is_file():
            stat = entry.stat()
            yield f"{entry.name} {stat.st_size} {stat.st_mtime_ns}\n"


def _open(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    with READER.open(path) as file:
        size = os.fstat(file.fileno()).st_size
        (n_header,) = struct.unpack("<Q", file.read(8))
        if n_header > MOST_BYTES or n_header > size - 8:
            raise CheckpointError(f"{path}: a header of {n_header} bytes")
        header = READER.parse_object(file.read(n_header), str(path))
        if size != 8 + n_header + header["bytes"]:
            raise CheckpointError(f"{path} is not whole")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return header, np.frombuffer(mapped, np.uint8)[8 + n_header :]


def _part(entry: Mapping[str, Any], data: np.ndarray) -> Part:
    arrays = {}
    for key, (begin, dtype, shape) in entry["arrays"].items():
        kind = np.dtype(dtype)
        if kind.hasobject or begin < 0 or begin + kind.itemsize * int(np.prod(shape)) > data.size:
            raise CheckpointError("an array outside the file")
        arrays[key] = np.ndarray(tuple(shape), kind, buffer=data.data, offset=begin)
    return Part(shape=tuple(entry["shape"]), facts=entry["facts"], arrays=arrays)
