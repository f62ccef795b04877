"""Write a checkpoint as OpenAI published GPT-2: a TensorFlow bundle, without TensorFlow.

Pellucid reads this format and has no need to write it; the tests and the comparison of the four
formats on the 124M shape do. The index has the very bytes TensorFlow writes (one block; a test
writes OpenAI's own index again from its entries).
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pellucid.checkpoint.bundle import TABLE_MAGIC, Entry
from pellucid.checkpoint.checksum import masked_crc32c
from pellucid.checkpoint.openai import openai_names, openai_shapes
from pellucid.hparams import HParams

PREFIX = "model.ckpt"
RESTART_INTERVAL = 16  # every so many keys one is written whole, for binary search
_DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bfloat16": 14, "float16": 19}


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(pairs: Iterable[tuple[bytes, bytes]], interval: int = RESTART_INTERVAL) -> bytes:
    """Sorted pairs, each key without the prefix that it shares with the one before."""
    out, restarts, last = bytearray(), [], b""
    for i, (key, value) in enumerate(pairs):
        shared = 0
        if i % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(last), len(key)) and last[shared] == key[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:]
        out += value
        last = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(pairs: Iterable[tuple[bytes, bytes]], per_block: int | None = None) -> bytes:
    """A sorted table: data blocks of `per_block` pairs (None: one block), meta block, index."""
    ordered = list(pairs)
    per_block = per_block or max(1, len(ordered))
    out, handles = bytearray(), []

    def append(contents: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(contents))
        stored = contents + b"\0"  # kind 0: not compressed
        out.extend(stored + struct.pack("<I", masked_crc32c(stored)))
        return handle

    for start in range(0, len(ordered), per_block):
        part = ordered[start : start + per_block]
        last = part[-1][0]
        if start + per_block >= len(ordered) and last:  # TensorFlow: the shortest key beyond
            last = bytes([last[0] + 1])
        handles.append((last, append(block(part))))
    meta = append(block([]))
    index = append(block(handles, interval=1))
    return bytes(out) + (meta + index).ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def entry_record(entry: Entry) -> bytes:
    """BundleEntryProto; fields of value 0 are left out."""
    dims = b""
    for size in entry.shape:
        dim = b"\x08" + varint(size)
        dims += b"\x12" + varint(len(dim)) + dim
    out = b"\x08" + varint(_DTYPES[entry.dtype]) + b"\x12" + varint(len(dims)) + dims
    for tag, value in ((b"\x18", entry.shard), (b"\x20", entry.offset), (b"\x28", entry.size)):
        if value:
            out += tag + varint(value)
    return out + b"\x35" + struct.pack("<I", entry.crc32c)


def index_pairs(entries: Mapping[str, Entry], n_shards: int = 1) -> list[tuple[bytes, bytes]]:
    """The bundle's header (n_shards, written by version 1) and its entries."""
    header = b"\x08" + varint(n_shards) + b"\x1a\x02\x08\x01"
    return [
        (b"", header),
        *((name.encode(), entry_record(entry)) for name, entry in sorted(entries.items())),
    ]


def write(
    folder: Path,
    hparams: HParams,
    tensors: Mapping[str, np.ndarray],
    encoder_json: Path | Mapping[str, int],
    vocab_bpe: Path | Iterable[tuple[str, str]],
    n_shards: int = 1,
) -> None:
    """The six files of an OpenAI model; `tensors` by Pellucid's names.

    The vocabulary is two files to copy, or token → id and the merges in their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hparams.json").write_text(json.dumps(hparams.to_dict(), indent=2) + "\n")
    (folder / "checkpoint").write_text(
        f'model_checkpoint_path: "{PREFIX}"\nall_model_checkpoint_paths: "{PREFIX}"\n'
    )
    if isinstance(encoder_json, Path):
        shutil.copyfile(encoder_json, folder / "encoder.json")
    else:
        (folder / "encoder.json").write_text(json.dumps(dict(encoder_json)))
    if isinstance(vocab_bpe, Path):
        shutil.copyfile(vocab_bpe, folder / "vocab.bpe")
    else:
        lines = "".join(f"{left} {right}\n" for left, right in vocab_bpe)
        (folder / "vocab.bpe").write_text(f"#version: 0.2\n{lines}", encoding="utf-8")

    ours = {other: name for name, other in openai_names(hparams).items()}
    stored = openai_shapes(hparams)
    entries = {}
    ordered = sorted(ours)
    for shard in range(n_shards):
        offset = 0
        with open(folder / f"{PREFIX}.data-{shard:05d}-of-{n_shards:05d}", "wb") as file:
            for name in ordered[shard::n_shards]:
                numbers = np.ascontiguousarray(tensors[ours[name]], "<f4")
                file.write(memoryview(numbers).cast("B"))
                entries[name] = Entry(
                    "float32", stored[name], shard, offset, numbers.nbytes, masked_crc32c(numbers)
                )
                offset += numbers.nbytes
    (folder / f"{PREFIX}.index").write_bytes(table(index_pairs(entries, n_shards)))
