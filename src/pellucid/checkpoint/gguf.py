"""GPT-2 in llama.cpp's file format, GGUF (github.com/ggml-org/ggml/blob/master/docs/gguf.md).

One file: a header, typed metadata (the hyperparameters, the vocabulary), a list of tensors, and
their numbers, often quantised. The header is parsed here, every length and offset checked
against the file before it is used, because the readers around trust them; the package `gguf`
turns quantised blocks back into float32.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError, TokenizerError
from ..hparams import HParams
from ..weights import shapes
from .checkpoint import (
    Checkpoint,
    check_finite,
    check_memory,
    check_shapes,
    check_tokenizer,
    hparams_from,
    open_file,
    widen,
)

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["ARCHITECTURE", "Header", "TensorInfo", "gguf_names", "read", "read_header"]

ARCHITECTURE = "gpt2"
_ALIGNMENT = 32
_MAX_NAME_BYTES = 63  # GGML_MAX_NAME less its final zero
_MAX_KEY_BYTES = 65535
_MAX_DIMS = 4
_LAYER_NORM_EPSILON = 1e-5

# Number in the file → name, numbers in a block, bytes of a block.
_TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    14: ("Q6_K", 256, 210),  # what llama.cpp gives the embeddings of a Q4_0 file
    30: ("BF16", 1, 2),
}

# Number in the file → numpy type of a metadata value; 8 is a string, 9 an array.
_SCALARS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?"}
_SCALARS |= {10: "<u8", 11: "<i8", 12: "<f8"}
_BOOL, _STRING, _ARRAY, _UINT32 = 7, 8, 9, 4

# Ours → llama.cpp's, and whether it is stored [out, in] where GPT-2 has [in, out].
_BLOCK = {
    "ln_1": ("attn_norm", False),
    "attn.c_attn": ("attn_qkv", True),
    "attn.c_proj": ("attn_output", True),
    "ln_2": ("ffn_norm", False),
    "mlp.c_fc": ("ffn_up", True),
    "mlp.c_proj": ("ffn_down", True),
}
_OUTER = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
_OUTPUT = "output.weight"  # the tied output layer, which older converters wrote a second time

# Kinds of token (tokenizer.ggml.token_type) that text does not simply spell.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: shape as numpy has it (llama.cpp counts the other way), bytes of the file."""

    type: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """All that precedes the numbers. Strings in `metadata` are the file's bytes, undecoded."""

    version: int
    alignment: int
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]


def gguf_names(hparams: HParams) -> dict[str, tuple[str, bool]]:
    """Our names → (llama.cpp's, stored transposed): `h.0.attn.c_attn.weight` →
    (`blk.0.attn_qkv.weight`, True)."""
    table = {}
    for name in shapes(hparams):
        path, last = name.rsplit(".", 1)
        if path in _OUTER:
            table[name] = (f"{_OUTER[path]}.{last}", False)
        else:
            _, layer, part = path.split(".", 2)
            other, transposed = _BLOCK[part]
            table[name] = (f"blk.{layer}.{other}.{last}", transposed and last == "weight")
    return table


# --- the header --------------------------------------------------------------------------------


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
        if kind not in _TENSOR_TYPES:
            known = ", ".join(sorted(entry[0] for entry in _TENSOR_TYPES.values()))
            raise cursor.fail(f"tensor {name!r} is of type {kind}; can be read: {known}")
        type_name, per_block, block_bytes = _TENSOR_TYPES[kind]
        if (shape[-1] if shape else 1) % per_block:
            raise cursor.fail(f"tensor {name!r}: rows of {shape[-1]} are no blocks of {per_block}")
        size = prod(shape) // per_block * block_bytes  # exact: Python's integers do not overflow
        if offset != expected:
            raise cursor.fail(f"tensor {name!r} is at offset {offset}; {expected} is next")
        tensors[name] = TensorInfo(type_name, shape, offset, size)
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
    placed = {
        name: TensorInfo(info.type, info.shape, start + info.offset, info.size)
        for name, info in tensors.items()
    }
    return Header(version, alignment, metadata, placed)


def _map(path: Path) -> np.ndarray:
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size == 0:  # cannot be mapped
            raise CheckpointError(f"{path}: is empty")
        return np.asarray(np.memmap(file, np.uint8, mode="r"))


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of any GGUF file, whatever model it holds.

    Guarantees that every tensor lies whole in the file, that none overlap, and that shapes,
    types and sizes agree. Raises CheckpointError.
    """
    return _parse(_map(Path(path)), str(path))


# --- the model ---------------------------------------------------------------------------------


class _Metadata:
    """Metadata values by key, of the type asked for."""

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

    def number(self, key: str) -> float:
        return float(self._get(key, lambda value: isinstance(value, float), "a float"))

    def string(self, key: str) -> str:
        return self._text(self._get(key, lambda value: isinstance(value, bytes), "a string"), key)

    def strings(self, key: str) -> list[str]:
        found = self._get(key, lambda value: isinstance(value, list), "a list of strings")
        return [self._text(value, key) for value in found]

    def _text(self, value: bytes, key: str) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.source}: {key!r} holds text that is not UTF-8") from None


def _hparams(metadata: _Metadata, header: Header) -> HParams:
    source = metadata.source
    architecture = metadata.string("general.architecture")
    if architecture != ARCHITECTURE:
        raise CheckpointError(
            f"{source}: holds a model of architecture {architecture!r}; Pellucid reads GPT-2 "
            f"({ARCHITECTURE!r}) and nothing else"
        )
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings is None or len(embeddings.shape) != 2:
        raise CheckpointError(f"{source}: tensor 'token_embd.weight' is missing or no matrix")
    hparams = hparams_from(
        {
            "n_vocab": embeddings.shape[0],
            "n_ctx": metadata.integer("gpt2.context_length"),
            "n_embd": metadata.integer("gpt2.embedding_length"),
            "n_head": metadata.integer("gpt2.attention.head_count"),
            "n_layer": metadata.integer("gpt2.block_count"),
        },
        source,
    )
    fixed = {
        "gpt2.feed_forward_length": 4 * hparams.n_embd,
        "gpt2.attention.head_count_kv": hparams.n_head,
        "gpt2.vocab_size": hparams.n_vocab,
    }
    for key, wanted in fixed.items():
        if (key in metadata.values or "forward" in key) and metadata.integer(key) != wanted:
            raise CheckpointError(
                f"{source}: {key} is {metadata.integer(key)}; a GPT-2 of this shape has {wanted}"
            )
    epsilon = metadata.number("gpt2.attention.layer_norm_epsilon")
    if not isclose(epsilon, _LAYER_NORM_EPSILON, rel_tol=1e-6):  # stored as float32
        raise CheckpointError(
            f"{source}: layer_norm_epsilon is {epsilon:g}; GPT-2's is {_LAYER_NORM_EPSILON:g}"
        )
    return hparams


def _dequantise(info: TensorInfo, data: np.ndarray, source: Path) -> np.ndarray:
    """float32 of the tensor's shape; a view of the mapped file where that is what it holds."""
    raw = data[info.offset : info.offset + info.size]
    if info.type == "F32":
        # An alignment below 4 is allowed in GGUF, and slow or refused elsewhere.
        return (raw.copy() if info.offset % 4 else raw).view("<f4").reshape(info.shape)
    if info.type == "F16":
        return widen(raw.view("<f2").reshape(info.shape), "F16")
    if info.type == "BF16":
        return widen(raw.view("<u2").reshape(info.shape), "BF16")
    try:
        import gguf
    except ImportError:
        raise CheckpointError(
            f"{source}: holds {info.type} numbers, which need the package gguf; "
            'pip install "pellucid[gguf]"'
        ) from None
    kind = gguf.GGMLQuantizationType[info.type]
    with np.errstate(all="ignore"):  # a damaged scale gives NaN, which is found and named later
        numbers = gguf.quants.dequantize(raw.reshape(prod(info.shape[:-1]), -1), kind)
    return np.asarray(numbers, np.float32).reshape(info.shape)


def _tokenizer(metadata: _Metadata) -> Tokenizer:
    source = metadata.source
    if (model := metadata.string("tokenizer.ggml.model")) != "gpt2":
        raise CheckpointError(f"{source}: its tokenizer is {model!r}, not GPT-2's byte-level BPE")
    key = "tokenizer.ggml.pre"  # files from before April 2024 do not say, and mean GPT-2's
    if key in metadata.values and (pre := metadata.string(key)) != "gpt-2":
        raise CheckpointError(f"{source}: splits text by the rule {pre!r}, not by GPT-2's")
    tokens = metadata.strings("tokenizer.ggml.tokens")
    vocab = {token: i for i, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise CheckpointError(f"{source}: a token occurs twice in tokenizer.ggml.tokens")
    merges = []
    for line in metadata.strings("tokenizer.ggml.merges"):
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise CheckpointError(f"{source}: {line[:60]!r} is not a merge of two tokens")
        merges.append((left, right))
    special = {}
    key = "tokenizer.ggml.token_type"
    if key in metadata.values:
        kinds = metadata.values[key]
        if not isinstance(kinds, np.ndarray) or kinds.size != len(tokens):
            raise CheckpointError(f"{source}: {key!r} is not one number for each token")
        for i in np.flatnonzero(np.isin(kinds, (_CONTROL, _USER_DEFINED, _UNUSED))):
            special[tokens[int(i)]] = int(i)
    key = "tokenizer.ggml.eos_token_id"
    if key in metadata.values:
        end = metadata.integer(key)
        if not 0 <= end < len(tokens):
            raise CheckpointError(f"{source}: {key!r} is {end}; there are {len(tokens)} tokens")
        special[tokens[end]] = end
    from ..tokenizer import Tokenizer

    try:
        return Tokenizer(vocab, merges, special)
    except TokenizerError as error:
        raise CheckpointError(f"{source}: {error}") from error


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """A GPT-2 in a GGUF file, as llama.cpp's `convert_hf_to_gguf.py` and `llama-quantize` write it.

    The tensors are float32 by our names and shapes: views of the memory-mapped file where it
    holds float32 (linear maps transposed by the view), else dequantised here. F32, F16 and BF16
    need no further package, the quantised kinds need the extra [gguf]. Raises CheckpointError: the
    file is malformed or cut short; another architecture, tokenizer or ε; tensors missing, extra
    or misshapen; an `output.weight` that is not the token embeddings; NaN or infinity.
    """
    path = Path(path)
    data = _map(path)
    header = _parse(data, str(path))
    metadata = _Metadata(header.metadata, path)
    hparams = _hparams(metadata, header)

    names = gguf_names(hparams)
    found = dict(header.tensors)
    output = found.pop(_OUTPUT, None)
    ours = {other: (name, transposed) for name, (other, transposed) in names.items()}
    arrived = {}
    for other, info in found.items():
        name, transposed = ours.get(other, (other, False))
        arrived[name] = info.shape[::-1] if transposed else info.shape
    check_shapes(arrived, hparams, path)
    embeddings = found["token_embd.weight"]
    if output is not None and not _same(output, embeddings, data):
        raise CheckpointError(
            f"{path}: {_OUTPUT} differs from token_embd.weight; GPT-2's output layer is tied to "
            "its embeddings"
        )
    check_memory(sum(4 * prod(info.shape) for info in found.values() if info.type != "F32"), path)

    tensors = {}
    for name, (other, transposed) in names.items():
        numbers = _dequantise(found[other], data, path)
        check_finite({other: numbers}, path)
        tensors[name] = numbers.T if transposed else numbers
    tokenizer = _tokenizer(metadata)
    check_tokenizer(tokenizer, hparams, path)
    card = {"name": metadata.string("general.name")} if "general.name" in header.metadata else {}
    return Checkpoint(hparams=hparams, tensors=tensors, tokenizer=tokenizer, card=card, path=path)


def _same(one: TensorInfo, other: TensorInfo, data: np.ndarray) -> bool:
    if (one.type, one.shape) != (other.type, other.shape):
        return False
    return bool(
        np.array_equal(
            data[one.offset : one.offset + one.size], data[other.offset : other.offset + other.size]
        )
    )
