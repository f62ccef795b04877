"""llama.cpp's file format, GGUF (github.com/ggml-org/ggml/blob/master/docs/gguf.md).

One file: a header, typed metadata, a list of tensors, and their numbers, often quantised. Every
length and offset is checked against the file before it is used; the package `gguf` trusts them,
and takes 2 s for a vocabulary of GPT-2's size where this takes 0.1 s. What the package is for
here: the kinds of numbers, and turning quantised blocks back into float32.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .contents import READER, widen

__all__ = ["GgufFile", "Header", "Metadata", "TensorInfo", "tensor_type"]

_ALIGNMENT = 32
_MAX_NAME_BYTES = 63  # GGML_MAX_NAME less its final zero
_MAX_KEY_BYTES = 65535
_MAX_DIMS = 4

# Number in the file → name, numbers in a block, bytes of a block: what needs no package.
_PLAIN_TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2)}

# Number in the file → numpy type of a metadata value; 8 is a string, 9 an array.
_SCALARS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?"}
_SCALARS |= {10: "<u8", 11: "<i8", 12: "<f8"}
_BOOL, _STRING, _ARRAY, _UINT32 = 7, 8, 9, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor: shape as numpy has it (llama.cpp counts the other way), bytes of the file."""

    type: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All that precedes the numbers. Strings in `metadata` are the file's bytes, undecoded."""

    version: int
    alignment: int
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]


class GgufFile:
    """An open GGUF file, whatever model it holds, whose header has been checked.

    Every tensor lies whole in the file, none overlap, and shapes, types and sizes agree.
    data: the whole file as read-only bytes, mapped into memory, not read.
    Raises CheckpointError naming the first thing that is wrong.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with READER.open(self.path) as file:
            if os.fstat(file.fileno()).st_size == 0:  # cannot be mapped
                raise CheckpointError(f"{path}: is empty")
            self.data = np.asarray(np.memmap(file, np.uint8, mode="r"))
        self.header = _parse(self.data, str(path))

    def stored(self, name: str) -> np.ndarray:
        """The tensor's bytes as the file has them."""
        info = self.header.tensors[name]
        return self.data[info.offset : info.offset + info.size]

    def tensor(self, name: str) -> np.ndarray:
        """float32 of the tensor's shape; a view of the mapped file where that is what it holds."""
        info, raw = self.header.tensors[name], self.stored(name)
        if info.type == "F32":
            # An alignment below 4 is allowed in GGUF, and slow or refused elsewhere.
            return (raw.copy() if info.offset % 4 else raw).view("<f4").reshape(info.shape)
        if info.type in ("F16", "BF16"):
            kind = "<f2" if info.type == "F16" else "<u2"
            return widen(raw.view(kind).reshape(info.shape), info.type)
        import gguf

        try:
            with np.errstate(all="ignore"):  # a damaged scale gives NaN, which is named later
                numbers = gguf.quants.dequantize(
                    raw.reshape(prod(info.shape[:-1]), -1), gguf.GGMLQuantizationType[info.type]
                )
        except NotImplementedError as error:
            raise CheckpointError(
                f"{self.path}: tensor {name!r} holds {info.type} numbers, which the package gguf "
                "cannot turn back into float32; make the file again as F16 or Q8_0"
            ) from error
        return np.asarray(numbers, np.float32).reshape(info.shape)


def tensor_type(number: int) -> tuple[str, int, int]:
    """A tensor type's name, numbers in a block and bytes of a block. Raises CheckpointError."""
    if number in _PLAIN_TYPES:
        return _PLAIN_TYPES[number]
    try:
        import gguf
    except ImportError as error:
        raise CheckpointError(
            f"holds quantised numbers (GGML type {number}), which need the package gguf: "
            'pip install "pellucid[gguf]"'
        ) from error
    try:
        kind = gguf.GGMLQuantizationType(number)
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"is of type {number}, which the package gguf does not know: the file is damaged, or "
            "newer than the package (pip install --upgrade gguf)"
        ) from error
    return kind.name, per_block, block_bytes


class _Cursor:
    """Reads on through the file; never beyond its end."""

    def __init__(self, data: np.ndarray, source: str) -> None:
        self.data = memoryview(data.data)
        self.at = 0
        self.source = source

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def fail(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self.source}: {message}")

    def take(self, n_bytes: int, what: str) -> memoryview:
        if n_bytes > self.left:
            raise self.fail(
                f"cut short or damaged: {what} needs {n_bytes} bytes at {self.at} but the file "
                f"has {len(self.data)}"
            )
        start, self.at = self.at, self.at + n_bytes
        return self.data[start : self.at]

    def u32(self, what: str) -> int:
        return int(struct.unpack("<I", self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(struct.unpack("<Q", self.take(8, what))[0])

    def string(self, what: str) -> bytes:
        return bytes(self.take(self.u64(what), what))

    def text(self, most: int, what: str) -> str:
        length = self.u64(what)
        if not 1 <= length <= most:
            raise self.fail(f"{what} of {length} bytes; 1 to {most} are allowed")
        try:
            return bytes(self.take(length, what)).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not UTF-8") from None

    def count(self, least_bytes: int, what: str) -> int:
        """A count of things of at least so many bytes each: no more than the file can hold."""
        count = self.u64(what)
        if count * least_bytes > self.left:
            raise self.fail(f"claims {count} {what}, more than fit into the rest of the file")
        return count

    def value(self, kind: int, what: str) -> Any:
        if kind == _STRING:
            return self.string(what)
        if kind == _ARRAY:
            item = self.u32(what)
            if item == _STRING:
                return [self.string(what) for _ in range(self.count(8, "strings"))]
            return self.scalars(item, None, what)
        return self.scalars(kind, 1, what)[0].item()

    def scalars(self, kind: int, count: int | None, what: str) -> np.ndarray:
        if kind not in _SCALARS:
            raise self.fail(f"{what} has a value of unknown type {kind}")
        stored = np.dtype("u1" if kind == _BOOL else _SCALARS[kind])
        if count is None:
            count = self.count(stored.itemsize, "values")
        values = np.frombuffer(self.take(count * stored.itemsize, what), stored)
        return values != 0 if kind == _BOOL else values


def _parse(data: np.ndarray, source: str) -> Header:
    cursor = _Cursor(data, source)
    if bytes(cursor.take(4, "the magic")) != b"GGUF":
        raise cursor.fail("is not a GGUF file: it does not begin with GGUF")
    version = cursor.u32("the version")
    if version not in (2, 3):
        if version and version & 0xFFFF == 0:
            raise cursor.fail("is a big-endian GGUF file; convert it on a little-endian machine")
        raise cursor.fail(f"is GGUF version {version}; versions 2 and 3 can be read")
    n_tensors = cursor.count(24, "tensors")
    n_metadata = cursor.count(13, "metadata keys")

    metadata: dict[str, Any] = {}
    alignment = _ALIGNMENT
    for _ in range(n_metadata):
        key = cursor.text(_MAX_KEY_BYTES, "a metadata key")
        if key in metadata:
            raise cursor.fail(f"metadata key {key!r} occurs twice")
        kind = cursor.u32(key)
        metadata[key] = cursor.value(kind, f"metadata key {key!r}")
        if key == "general.alignment":
            alignment = metadata[key]
            if kind != _UINT32 or alignment < 1 or alignment & (alignment - 1):
                raise cursor.fail(f"general.alignment is {alignment!r}, not a power of two")

    tensors: dict[str, TensorInfo] = {}
    expected = 0  # each tensor begins where the one before ends, padded to the alignment
    for _ in range(n_tensors):
        name = cursor.text(_MAX_NAME_BYTES, "a tensor's name")
        if name in tensors:
            raise cursor.fail(f"tensor {name!r} occurs twice")
        n_dims = cursor.u32(name)
        if n_dims > _MAX_DIMS:
            raise cursor.fail(f"tensor {name!r} has {n_dims} dimensions; at most {_MAX_DIMS}")
        shape = tuple(cursor.u64(name) for _ in range(n_dims))[::-1]
        kind, offset = cursor.u32(name), cursor.u64(name)
        if any(size >= 1 << 63 for size in shape):
            raise cursor.fail(f"tensor {name!r} has a negative size")
        try:
            type_name, per_block, block_bytes = tensor_type(kind)
        except CheckpointError as error:
            raise cursor.fail(f"tensor {name!r} {error}") from error
        if (shape[-1] if shape else 1) % per_block:
            raise cursor.fail(f"tensor {name!r}: rows of {shape[-1]} are no blocks of {per_block}")
        size = prod(shape) // per_block * block_bytes  # exact: Python's integers do not overflow
        if offset != expected:
            raise cursor.fail(f"tensor {name!r} is at offset {offset}; {expected} is next")
        tensors[name] = TensorInfo(type=type_name, shape=shape, offset=offset, size=size)
        expected += -(-size // alignment) * alignment

    start = -(-cursor.at // alignment) * alignment
    if start + expected > len(data):
        cut = next(
            (name for name, t in tensors.items() if start + t.offset + t.size > len(data)), ""
        )
        raise cursor.fail(
            f"cut short: {f'tensor {cut!r}' if cut else 'its padding'} ends beyond the file; "
            f"{start + expected} bytes are needed and {len(data)} are there"
        )
    placed = {name: replace(info, offset=start + info.offset) for name, info in tensors.items()}
    return Header(version=version, alignment=alignment, metadata=metadata, tensors=placed)


class Metadata:
    """Metadata values by key, of the type asked for. Raises CheckpointError for another."""

    def __init__(self, values: Mapping[str, Any], source: Path) -> None:
        self.values = values
        self.source = source

    def _get(self, key: str, fits: Callable[[Any], bool], kind: str) -> Any:
        if key not in self.values:
            raise CheckpointError(f"{self.source}: metadata key {key!r} is missing")
        value = self.values[key]
        if not fits(value):
            raise CheckpointError(f"{self.source}: metadata key {key!r} is not {kind}")
        return value

    def integer(self, key: str) -> int:
        fits = lambda value: isinstance(value, int) and not isinstance(value, bool)  # noqa: E731
        return int(self._get(key, fits, "an integer"))

    def flag(self, key: str, otherwise: bool = False) -> bool:
        """otherwise: where the file does not say."""
        fits = lambda value: isinstance(value, bool)  # noqa: E731
        return bool(self._get(key, fits, "true or false")) if key in self.values else otherwise

    def number(self, key: str) -> float:
        return float(self._get(key, lambda value: isinstance(value, float), "a float"))

    def string(self, key: str) -> str:
        return self._text(self._get(key, lambda value: isinstance(value, bytes), "a string"), key)

    def strings(self, key: str) -> list[str]:
        values = self._get(key, lambda value: isinstance(value, list), "a list of strings")
        try:  # all at once: a vocabulary has hundreds of thousands
            texts = b"\n".join(values).decode("utf-8").split("\n")
            if len(texts) == len(values):
                return texts
        except UnicodeDecodeError:
            pass
        return [self._text(value, key) for value in values]

    def _text(self, value: bytes, key: str) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.source}: {key!r} holds text that is not UTF-8") from None
