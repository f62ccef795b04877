"""A TensorFlow tensor bundle, read without TensorFlow: `NAME.index` and `NAME.data-00000-of-00001`.

The index is a sorted table as LevelDB writes it (tensorflow/core/lib/io/table_format.txt) whose
values are protobufs (tensorflow/core/protobuf/tensor_bundle.proto); the data files are the tensors'
bytes, one after another. Only what a bundle of GPT-2's may hold is accepted: every length, offset
and checksum is checked before it is used, and anything else is a CheckpointError.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .checksum import masked_crc32c
from .contents import READER, inside

__all__ = ["TABLE_MAGIC", "Bundle", "Entry", "read_index"]

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
_MAX_INDEX_BYTES = 1 << 26  # the 1.5B model's index has 21 KB
_MAX_NAME_BYTES = 1 << 8
_MAX_SHARDS = 1 << 10
_DTYPES = {1: "float32", 2: "float64", 3: "int32", 9: "int64", 14: "bfloat16", 19: "float16"}
_DTYPE_BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the bundle: where its bytes lie. crc32c is masked, as the index stores it."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def _varint(data: bytes, at: int, end: int, source: str) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise CheckpointError(f"{source}: a number runs past its end or beyond 64 bits")


def _block(data: bytes, offset: int, size: int, source: str) -> bytes:
    """The contents of one block of the table, its kind and checksum verified."""
    limit = len(data) - FOOTER_BYTES
    if offset + size + 5 > limit:
        raise CheckpointError(
            f"{source}: a block needs bytes {offset}..{offset + size + 5} but the blocks end "
            f"at {limit}; the index is cut short or damaged"
        )
    kind = data[offset + size]
    (stored,) = struct.unpack_from("<I", data, offset + size + 1)
    if masked_crc32c(data[offset : offset + size + 1]) != stored:
        raise CheckpointError(
            f"{source}: the block at byte {offset} does not match its checksum; "
            "the index is damaged, fetch it again"
        )
    if kind != 0:
        what = "compressed with Snappy" if kind == 1 else f"of unknown kind {kind}"
        raise CheckpointError(f"{source}: the block at byte {offset} is {what}; not supported")
    return data[offset : offset + size]


def _pairs(block: bytes, source: str) -> Iterator[tuple[bytes, bytes]]:
    """The sorted (key, value) pairs of a block; each key shares a prefix with the one before."""
    if len(block) < 4:
        raise CheckpointError(f"{source}: a block is too short")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    if restarts < 1 or end < 0:
        raise CheckpointError(f"{source}: a block claims {restarts} restart points")
    key, at = b"", 0
    starts: dict[int, int] = {}  # where a key begins → how much of it is shared
    while at < end:
        start = at
        shared, at = _varint(block, at, end, source)
        unshared, at = _varint(block, at, end, source)
        length, at = _varint(block, at, end, source)
        if shared > len(key) or unshared > end - at or length > end - at - unshared:
            raise CheckpointError(f"{source}: a key or value runs past its block")
        if shared + unshared > _MAX_NAME_BYTES:  # shared prefixes could unfold without bound
            raise CheckpointError(f"{source}: a name of {shared + unshared} bytes")
        previous, key = key, key[:shared] + block[at : at + unshared]
        at += unshared
        if starts and key <= previous:
            raise CheckpointError(f"{source}: keys are not sorted or not unique")
        starts[start] = shared
        yield key, block[at : at + length]
        at += length
    for i in range(restarts):
        (point,) = struct.unpack_from("<I", block, end + 4 * i)
        if starts.get(point, 0 if point == end == 0 else 1) != 0:
            raise CheckpointError(f"{source}: restart point {point} is not the start of a key")


def _table(data: bytes, source: str) -> Iterator[tuple[bytes, bytes]]:
    """All (key, value) pairs of a sorted table."""
    if len(data) < FOOTER_BYTES:
        raise CheckpointError(f"{source}: {len(data)} bytes is too short for an index")
    footer = data[-FOOTER_BYTES:]
    (magic,) = struct.unpack_from("<Q", footer, FOOTER_BYTES - 8)
    if magic != TABLE_MAGIC:
        raise CheckpointError(
            f"{source}: does not end as a TensorFlow index does; it is another kind of file, "
            "or cut short"
        )
    at, handles = 0, []
    for _ in range(4):
        number, at = _varint(footer, at, FOOTER_BYTES - 8, source)
        handles.append(number)
    if any(_pairs(_block(data, handles[0], handles[1], source), source)):
        raise CheckpointError(f"{source}: holds a meta block, which no tensor bundle has")
    last: bytes | None = None
    for separator, handle in _pairs(_block(data, handles[2], handles[3], source), source):
        offset, at = _varint(handle, 0, len(handle), source)
        size, at = _varint(handle, at, len(handle), source)
        if at != len(handle):
            raise CheckpointError(f"{source}: a block's handle has extra bytes")
        for key, value in _pairs(_block(data, offset, size, source), source):
            if (last is not None and key <= last) or key > separator:
                raise CheckpointError(f"{source}: keys are not sorted or not unique")
            last = key
            yield key, value


def _fields(data: bytes, source: str) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protobuf; values of varint, fixed 32 and bytes fields."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at, len(data), source)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at, len(data), source)
            yield number, value
        elif wire == 5 and len(data) - at >= 4:
            yield number, struct.unpack_from("<I", data, at)[0]
            at += 4
        elif wire == 2:
            length, at = _varint(data, at, len(data), source)
            if length > len(data) - at:
                raise CheckpointError(f"{source}: a field runs past its record")
            yield number, data[at : at + length]
            at += length
        else:
            raise CheckpointError(f"{source}: field {number} has wire type {wire}")


def _record(data: bytes, kinds: Mapping[int, type], source: str) -> dict[int, Any]:
    """Fields by number, each at most once and of the kind that `kinds` gives it."""
    record: dict[int, Any] = {}
    for number, value in _fields(data, source):
        if number not in kinds or not isinstance(value, kinds[number]) or number in record:
            raise CheckpointError(f"{source}: field {number} is unknown, repeated or misshapen")
        record[number] = value
    return record


def _shape(data: bytes, source: str) -> tuple[int, ...]:
    dims: list[int] = []
    for number, value in _fields(data, source):
        if number != 2 or not isinstance(value, bytes):
            raise CheckpointError(f"{source}: a shape that is not fully known")
        size = _record(value, {1: int, 2: bytes}, source).get(1, 0)
        if size >= 1 << 40 or len(dims) == 8:
            raise CheckpointError(f"{source}: no GPT-2 has a tensor of that shape")
        dims.append(size)
    return tuple(dims)


def _entry(value: bytes, n_shards: int, source: str) -> Entry:
    kinds = {1: int, 2: bytes, 3: int, 4: int, 5: int, 6: int, 7: bytes}
    fields = _record(value, kinds, source)
    if 7 in fields:
        raise CheckpointError(f"{source}: stored in slices, which no GPT-2 of OpenAI's is")
    dtype = _DTYPES.get(fields.get(1, 0))
    if dtype is None:
        raise CheckpointError(f"{source}: number {fields.get(1, 0)} is no known type of tensor")
    if 6 not in fields:
        raise CheckpointError(f"{source}: has no checksum")
    entry = Entry(
        dtype=dtype,
        shape=_shape(fields.get(2, b""), source),
        shard=fields.get(3, 0),
        offset=fields.get(4, 0),
        size=fields.get(5, 0),
        crc32c=fields[6],
    )
    if entry.shard >= n_shards:
        raise CheckpointError(f"{source}: lies in file {entry.shard} of {n_shards}")
    if entry.size != prod(entry.shape) * _DTYPE_BYTES[dtype]:
        raise CheckpointError(
            f"{source}: {entry.size} bytes cannot be {list(entry.shape)} of {dtype}"
        )
    return entry


def _read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    data = READER.read_bytes(path, _MAX_INDEX_BYTES)
    source = str(path)
    entries: dict[str, Entry] = {}
    n_shards = 0
    for key, value in _table(data, source):
        if n_shards == 0:  # the header has the empty key, and so comes first
            if key != b"":
                raise CheckpointError(f"{source}: has no header")
            header = _record(value, {1: int, 2: int, 3: bytes}, source)
            n_shards = header.get(1, 0)
            if not 1 <= n_shards <= _MAX_SHARDS:
                raise CheckpointError(f"{source}: claims {n_shards} data files")
            if header.get(2, 0) != 0:
                raise CheckpointError(f"{source}: written on a big-endian machine; not supported")
            version = _record(header.get(3, b""), {1: int, 2: int, 3: bytes}, source)
            if version.get(2, 0) > 1:
                raise CheckpointError(f"{source}: asks for a reader of version {version[2]}")
            continue
        try:
            name = key.decode("ascii")
        except UnicodeDecodeError:
            raise CheckpointError(f"{source}: tensor name {key!r} is not ASCII") from None
        entries[name] = _entry(value, n_shards, f"{source}: tensor {name!r}")
    if n_shards == 0:
        raise CheckpointError(f"{source}: is empty")
    end, shard, previous = 0, -1, ""
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].shard, item[1].offset)):
        if entry.shard == shard and entry.offset < end:
            raise CheckpointError(f"{source}: tensors {previous!r} and {name!r} overlap")
        end, shard, previous = entry.end, entry.shard, name
    return n_shards, entries


def read_index(path: str | os.PathLike[str]) -> dict[str, Entry]:
    """Every tensor that a bundle's `.index` file names, in the order of the names.

    The checksum of each block of the index is verified. Raises CheckpointError.
    """
    return _read_index(Path(path))[1]


class Bundle:
    """An index and its data files, mapped when first asked for. prefix: their common name."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        self.prefix = prefix
        self.n_shards, self.entries = _read_index(inside(folder, f"{self.prefix}.index"))
        self._mapped: dict[int, np.ndarray] = {}

    def shard(self, number: int) -> tuple[Path, np.ndarray]:
        name = f"{self.prefix}.data-{number:05d}-of-{self.n_shards:05d}"
        path = inside(self.folder, name)
        if number not in self._mapped:
            with READER.open(path) as file:
                size = os.fstat(file.fileno()).st_size  # an empty file cannot be mapped
                self._mapped[number] = (
                    np.asarray(np.memmap(file, np.uint8, mode="r"))
                    if size
                    else np.empty(0, np.uint8)
                )
        return path, self._mapped[number]

    def check_whole(self) -> None:
        """Every tensor's bytes are there: the first that is not is named."""
        for name, entry in sorted(self.entries.items(), key=lambda item: item[1].end):
            self._raw(name, entry)

    def _raw(self, name: str, entry: Entry) -> np.ndarray:
        path, mapped = self.shard(entry.shard)
        if entry.end > mapped.size:
            raise CheckpointError(
                f"{path}: cut short: tensor {name} needs bytes {entry.offset}..{entry.end} but "
                f"the file has {mapped.size}; fetch it again"
            )
        return mapped[entry.offset : entry.end]

    def tensor(self, name: str, verify: bool) -> np.ndarray:
        """float32 [shape as stored], mapped and read-only."""
        entry = self.entries[name]
        if entry.dtype != "float32":
            raise CheckpointError(
                f"{self.folder}: tensor {name} is {entry.dtype}; OpenAI's GPT-2 files are float32"
            )
        raw = self._raw(name, entry)
        if verify and masked_crc32c(raw) != entry.crc32c:
            raise CheckpointError(
                f"{self.folder}: tensor {name} does not match its checksum; the data file is "
                "damaged or belongs to another index, fetch it again"
            )
        if entry.offset % 4:  # not as TensorFlow lays them out, and slow or refused elsewhere
            raw = raw.copy()
        return raw.view("<f4").reshape(entry.shape)
