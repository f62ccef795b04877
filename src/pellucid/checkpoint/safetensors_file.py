"""The safetensors format, read in place and written piece by piece.

A file is: 8 bytes, the length N of the header (little-endian); N bytes of JSON that give each
tensor's dtype, shape and place; the numbers. (https://github.com/huggingface/safetensors, "Format")
Nothing is trusted before it is checked, and the numbers are not copied but memory-mapped: the
package `safetensors` copies them (0.28 s for GPT-2's, and another 500 MB), and writes the same
tensors as other bytes each time; it reads once more whatever was written here (saving.py).
Stricter than the format where GPT-2 needs no more: a header of at most 1 MiB, no unknown keys.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..files import MOST_BYTES
from .contents import READER, widen

__all__ = ["DTYPES", "STORED", "SafetensorsFile", "TensorPlace", "write"]

FORMAT_LIMIT = 100_000_000  # what the format's own reader allows a header

# Bytes per number of every dtype the format knows and numpy can hold the place of.
_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
# Those that parameters may have → how numpy looks at the file's bytes.
DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2"}
# What `write` stores → the format's name for it.
STORED = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlace:
    """Where one tensor lies: its bytes are data[start:end], counted from the file's begin."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsFile:
    """An open safetensors file whose header has been checked.

    places: name → TensorPlace. metadata: the header's `__metadata__`, texts only.
    data: the whole file as read-only bytes, mapped into memory, not read.
    Raises CheckpointError naming the first thing that is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with READER.open(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise CheckpointError(f"{path} has {size} bytes: too short for a safetensors file")
            (n_header,) = struct.unpack("<Q", file.read(8))
            _check_header_size(n_header, size, path)
            header = file.read(n_header)
            if len(header) != n_header:
                raise CheckpointError(f"{path} was cut short while it was read")
            self.places, self.metadata = _parse_header(header, 8 + n_header, size, path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.data = np.frombuffer(mapped, np.uint8)
        if self.data.size != size:
            raise CheckpointError(f"{path} changed while it was read")

    def stored(self, name: str) -> np.ndarray:
        """The tensor as the file has it, without a copy; bfloat16 shows as uint16."""
        place = self.places[name]
        if place.dtype not in DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {name} has dtype {place.dtype}; "
                f"parameters may be {', '.join(sorted(DTYPES))}"
            )
        return np.ndarray(
            place.shape, DTYPES[place.dtype], buffer=self.data.data, offset=place.start
        )

    def tensor(self, name: str) -> np.ndarray:
        """The tensor to compute with: F32 and F64 without a copy, F16 and BF16 as float32."""
        return widen(self.stored(name), self.places[name].dtype)


def _check_header_size(n_header: int, size: int, path: Path) -> None:
    if n_header.to_bytes(8, "little").lstrip().lower().startswith((b"<!doc", b"<html")):
        raise CheckpointError(f"{path} is a web page: download the file itself")
    if n_header > FORMAT_LIMIT:
        raise CheckpointError(
            f"{path}: a header of {n_header} bytes is more than the format's {FORMAT_LIMIT}; "
            "is this a safetensors file?"
        )
    if n_header > size - 8:
        raise CheckpointError(
            f"{path}: the header is said to have {n_header} bytes and the file has {size}: "
            "cut short, or not a safetensors file"
        )
    if n_header > MOST_BYTES:
        raise CheckpointError(f"{path}: a header of {n_header} bytes; no GPT-2 needs {MOST_BYTES}")


def _parse_header(
    header: bytes, begin: int, size: int, path: Path
) -> tuple[dict[str, TensorPlace], dict[str, str]]:
    """begin: where the numbers begin. size: of the file. Raises CheckpointError."""
    if not header.startswith(b"{"):
        raise CheckpointError(f"{path}: the header does not begin with '{{'")
    table = READER.parse_object(header, f"{path}: the header")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path}: the header's __metadata__ must map texts to texts")
    places = {name: _place(name, entry, begin, path) for name, entry in table.items()}
    end = begin
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].end)):
        if place.start != end:
            wrong = "leaves a gap before it" if place.start > end else "overlaps another tensor"
            raise CheckpointError(f"{path}: tensor {_short(name)} {wrong}")
        end = place.end
    if end != size:
        raise CheckpointError(
            f"{path}: the tensors end at byte {end} and the file has {size}: "
            + ("cut short" if end > size else "bytes that belong to no tensor")
        )
    return places, metadata


def _place(name: str, entry: Any, begin: int, path: Path) -> TensorPlace:
    what = f"{path}: tensor {_short(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{what} must have dtype, shape and data_offsets, nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise CheckpointError(f"{what} has an unknown dtype {_short(str(dtype))}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(map(_is_size, shape)):
        raise CheckpointError(f"{what} has a shape that is not a list of at most 8 sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise CheckpointError(f"{what} has data_offsets that are not two places")
    n_bytes = _BYTES[dtype]
    for length in shape:
        n_bytes *= length
        # Checked at each step, as the format asks: a later 0 must not hide an overflow.
        if n_bytes >= 1 << 63:
            raise CheckpointError(f"{what} has shape {shape}: more bytes than a computer can count")
    start, end = offsets
    if end < start:
        raise CheckpointError(f"{what} ends at {end}, before it starts at {start}")
    if end - start != n_bytes:
        raise CheckpointError(
            f"{what} has {end - start} bytes; {dtype} of shape {shape} needs {n_bytes}"
        )
    return TensorPlace(dtype=dtype, shape=tuple(shape), start=begin + start, end=begin + end)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")


def write(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    dtype: str = "float32",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, one tensor in memory at a time.

    dtype: float32, float16 or bfloat16 (to nearest, ties to even). The same tensors always give
    the same bytes. Raises CheckpointError for a number that the dtype cannot hold, and OSError.
    """
    stored = STORED[dtype]
    width = _BYTES[stored]
    header: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size * width
        header[name] = {
            "dtype": stored,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that every tensor starts on a multiple of its width
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name, tensor in tensors.items():
            file.write(_narrow(tensor, stored, name).view(np.uint8).data)


def _narrow(tensor: np.ndarray, stored: str, name: str) -> np.ndarray:
    """To the stored dtype; a finite number that becomes infinite is a CheckpointError."""
    with np.errstate(over="ignore"):
        full = np.ascontiguousarray(tensor, "<f4")
        if stored == "F32":
            narrow, highest = full, np.max(np.abs(full), initial=0)
        elif stored == "F16":
            narrow = full.astype("<f2")
            highest = np.max(np.abs(narrow), initial=0)
        else:
            bits = full.view("<u4")
            bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            narrow = bits.astype("<u2")
            highest = np.max(np.abs(widen(narrow, "BF16")), initial=0)
    if not np.isfinite(highest):
        raise CheckpointError(
            f"tensor {name} holds a number that {stored} cannot; take another dtype"
        )
    return np.ascontiguousarray(narrow).reshape(-1)
