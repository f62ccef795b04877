"""What every reader returns, and the checks that all of them share."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import CheckpointError, InputError
from ..families import family_of, hparams_of
from ..files import Reader
from ..hparams import HParams
from ..weights import shapes

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = [
    "READER",
    "Checkpoint",
    "Roles",
    "available_memory",
    "check_finite",
    "check_memory",
    "check_shapes",
    "check_tokenizer",
    "checking_finite",
    "hparams_from",
    "inside",
    "padding_note",
    "stretches",
    "widen",
]


READER = Reader(error=CheckpointError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The ids of tokens with a part to play, where the model's files name them.

    bos: begins a text. eos: each of these ends one; () where none is named, and then every special
    token does. pad: fills up a batch. unk: stands for what is unknown. They may be ordinary tokens.
    """

    bos: int | None = None
    eos: tuple[int, ...] = ()
    pad: int | None = None
    unk: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], n_vocab: int, source: str) -> Roles:
        """From a file's values: an id or null, for eos also a list of ids. An id that the model has
        no token for is left out: configurations name GPT-2's 50256 whatever the vocabulary.

        Raises CheckpointError for what is no id.
        """
        ids: dict[str, list[int]] = {}
        for role in ("bos", "eos", "pad", "unk"):
            value = values.get(role)
            listed = value if isinstance(value, list) and role == "eos" else [value]
            if not all(each is None or type(each) is int for each in listed):
                raise CheckpointError(f"{source}: {role} must be a token's id, not {value!r:.60}")
            ids[role] = [each for each in listed if each is not None and 0 <= each < n_vocab]
        one = {role: ids[role][0] if ids[role] else None for role in ("bos", "pad", "unk")}
        return cls(eos=tuple(dict.fromkeys(ids["eos"])), **one)

    def to_dict(self) -> dict[str, Any]:
        """What `of` reads; only what is named."""
        values = {"bos": self.bos, "eos": list(self.eos) or None, "pad": self.pad, "unk": self.unk}
        return {role: value for role, value in values.items() if value is not None}

    def kept(self, same_template: bool) -> Roles:
        """What stays where a model learns another chat template, whose turns end otherwise."""
        return self if same_template else replace(self, eos=())

    def stops(self, tokenizer: Tokenizer | None) -> tuple[int, ...]:
        """The ids that end a text: those named, else every special token."""
        if self.eos or tokenizer is None:
            return self.eos
        return tuple(sorted(tokenizer.special_tokens.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model as it lies on disk.

    tensors: the names of `weights.shapes` → arrays, memory-mapped where the file's numbers can
    be used as they are, read-only. card: what is known about the model (loss, data, limits).
    template: how a conversation is written as text, when the model was trained on one.
    path: the file or folder it was read from. roles: which tokens begin, end and pad a text.
    """

    hparams: HParams
    tensors: Mapping[str, np.ndarray]
    tokenizer: Tokenizer | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    path: Path | None = None
    roles: Roles = field(default_factory=Roles)


def hparams_from(values: Mapping[str, Any], source: Path) -> HParams:
    """HParams of any family from a file's numbers; what they refuse becomes a CheckpointError."""
    try:
        return hparams_of(values)
    except InputError as error:
        raise CheckpointError(f"{source}: {error}") from error


def check_shapes(arrived: Mapping[str, tuple[int, ...]], hparams: HParams, source: Path) -> None:
    """Every tensor of a model of this shape and no other, before any number is read."""
    expected = shapes(hparams)
    if missing := [name for name in expected if name not in arrived]:
        raise CheckpointError(f"{source}: missing tensors: {_some(missing)}")
    if extra := [name for name in arrived if name not in expected]:
        title = family_of(hparams).title
        raise CheckpointError(
            f"{source}: tensors that no {title} of this shape has: {_some(extra)}"
        )
    for name, shape in expected.items():
        if tuple(arrived[name]) != shape:
            raise CheckpointError(
                f"{source}: tensor {name} has shape {list(arrived[name])}; "
                f"the hyperparameters ask for {list(shape)}"
            )


def check_memory(n_bytes: int, source: Path) -> None:
    """Refuse before allocating when the model cannot fit in this machine's free memory."""
    available = available_memory()
    if available is not None and n_bytes > available:
        raise CheckpointError(
            f"{source}: needs about {n_bytes / 2**30:,.1f} GiB of memory and "
            f"{available / 2**30:.1f} GiB is free; close other programs or take a smaller model"
        )


def check_finite(tensors: Mapping[str, np.ndarray], source: Path) -> None:
    """Name the first NaN or infinity, its tensor and its index.

    One pass at the speed of memory: an infinity or NaN always survives into the sum it is part of,
    so the exact search runs only where a sum is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if all(np.isfinite(np.add.reduce(stretch)) for stretch in stretches(tensors.values())):
            return
        for name, tensor in tensors.items():
            _check_each(name, tensor, source)


def _check_each(name: str, tensor: np.ndarray, source: Path) -> None:
    flat = tensor.reshape(-1)
    step = 1 << 18
    for start in range(0, flat.size, step):
        chunk = flat[start : start + step]
        if np.isfinite(np.add.reduce(chunk)):
            continue
        bad = np.flatnonzero(~np.isfinite(chunk))
        if bad.size:
            index = tuple(int(i) for i in np.unravel_index(start + int(bad[0]), tensor.shape))
            raise CheckpointError(
                f"{source}: tensor {name} holds {chunk[bad[0]]} at index {list(index)}; "
                "the file is damaged or its training diverged"
            )


def stretches(tensors: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The same numbers in few flat arrays, without a copy: those that lie side by side in memory,
    as a file's do, are one. To be read while the tensors are held."""
    ordered = sorted((tensor.reshape(-1) for tensor in tensors), key=_address)
    joined: list[np.ndarray] = []
    for flat in ordered:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.dtype == flat.dtype
            and last.flags.c_contiguous
            and flat.flags.c_contiguous
            and _address(last) + last.nbytes == _address(flat)
        ):
            both = last.size + flat.size
            joined[-1] = as_strided(last, (both,), last.strides, writeable=False)
        else:
            joined.append(flat)
    return joined


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


@contextmanager
def checking_finite(tensors: Mapping[str, np.ndarray], source: Path) -> Iterator[None]:
    """`check_finite` on a thread of its own while the block runs, which numpy lets it: it holds
    Python only between sums. Ends with the block, and its error goes before the block's."""
    problems: list[CheckpointError] = []

    def check() -> None:
        try:
            check_finite(tensors, source)
        except CheckpointError as problem:
            problems.append(problem)

    thread = Thread(target=check, name="check_finite")
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if problems:
            raise problems[0]


def widen(stored: np.ndarray, dtype: str) -> np.ndarray:
    """F16, BF16 (as uint16) → float32; F32 and F64 stay as they are, little-endian views."""
    if dtype == "BF16":
        wide = np.empty(stored.shape, np.uint32)
        np.left_shift(stored, 16, out=wide, dtype=np.uint32, casting="unsafe")
        return wide.view(np.float32)
    if dtype == "F16":
        return stored.astype(np.float32)
    return stored


def inside(root: Path, name: str) -> Path:
    """The file `name` of folder `root`; refuses a path or a link that leads out of `root`.

    The hub's cache is the one exception: there a snapshot is made of links to the blobs beside it.
    """
    return READER.inside(root, name, allows=_is_hub_blob)


def check_tokenizer(tokenizer: Tokenizer, hparams: HParams, source: Path) -> None:
    """As many tokens as the model has embeddings: else ids would mean something else."""
    if tokenizer.n_vocab == hparams.n_vocab:
        return
    what = (
        f"{source}: the tokenizer has {tokenizer.n_vocab} tokens and the model "
        f"{hparams.n_vocab} embeddings; they do not belong together"
    )
    added = tokenizer.special_tokens | {t: each.id for t, each in tokenizer.rules.added.items()}
    beyond = [text for text, token in added.items() if token >= hparams.n_vocab]
    if len(beyond) == tokenizer.n_vocab - hparams.n_vocab:
        what += (
            f": {_some(sorted(beyond))} came later, and the model never saw it. Take it out of the "
            "tokenizer's files, or give the model an embedding for it (in transformers "
            "resize_token_embeddings, then training)"
        )
    raise CheckpointError(what)


def padding_note(n_rows: int, n_vocab: int) -> str:
    """What a card says of embeddings that were left out."""
    return (
        f"the file has {n_rows} embeddings for {n_vocab} tokens; those that stand for no token are "
        "left out"
    )


def _is_hub_blob(target: Path, snapshot: Path) -> bool:
    """Whether `target` is a blob of the hub cache that `snapshot` lies in.

    Layout: <cache>/models--org--name/snapshots/<commit>, blobs in <cache>/models--org--name/blobs
    or, shared between models, in <cache>/blobs/<2 hex digits>/<64 hex digits>.
    """
    model = snapshot.parent.parent
    if snapshot.parent.name != "snapshots" or not model.name.startswith("models--"):
        return False
    if target.parent == model / "blobs":
        return True
    shared = model.parent / "blobs"
    return bool(
        target.parent.parent == shared
        and re.fullmatch(r"[0-9a-f]{64}", target.name)
        and target.parent.name == target.name[:2]
    )


def available_memory() -> int | None:
    """Bytes that a program may still take; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            for line in meminfo:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform != "win32":
        with suppress(OSError, ValueError):  # a name that this system does not know
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
