"""GPT-2 in llama.cpp's file format (`gguf.Layout`): names, hyperparameters and tensors."""

from __future__ import annotations

import re
from math import isclose, prod
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..hparams import HParams
from ..weights import shapes
from .contents import check_finite, check_memory, check_shapes, hparams_from
from .gguf_file import GgufFile, Metadata, TensorInfo
from .parts import Part

__all__ = [
    "ARCHITECTURES",
    "architecture",
    "extra_tensors",
    "gguf_names",
    "parts",
    "read_hparams",
    "read_tensors",
    "write_hparams",
]

ARCHITECTURES = ("gpt2",)
_LAYER_NORM_EPSILON = 1e-5

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
_EMBEDDINGS = "token_embd.weight"
_OUTPUT = "output.weight"  # the tied output layer, which older converters wrote a second time


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


def read_hparams(metadata: Metadata, file: GgufFile) -> tuple[HParams, dict[str, Any]]:
    """The hyperparameters; a card says nothing of them."""
    source = metadata.source
    embeddings = file.header.tensors.get("token_embd.weight")
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
    return hparams, {}


def _finer_output(file: GgufFile, output: TensorInfo, wte: TensorInfo) -> np.ndarray | None:
    """The output layer, where it is the embeddings in a finer kind of numbers: what to take for
    both. (llama-quantize leaves it at Q6_K where it makes the embeddings Q4_0.)

    Raises CheckpointError where a row differs by more than the two kinds' rounding.
    """
    tied, finer = output.shape == wte.shape, None
    if tied and output.type == wte.type:
        tied = np.array_equal(file.stored(_OUTPUT), file.stored(_EMBEDDINGS))
    elif tied:
        check_memory(8 * prod(wte.shape), file.path)
        ours, theirs = file.tensor(_EMBEDDINGS), file.tensor(_OUTPUT)
        check_finite({_EMBEDDINGS: ours, _OUTPUT: theirs}, file.path)
        most = _rounding(wte.type) + _rounding(output.type)
        apart = np.linalg.norm(ours - theirs, axis=1)
        tied = bool((apart <= most * np.linalg.norm(theirs, axis=1) + 1e-6).all())
        finer = theirs if _rounding(output.type) < _rounding(wte.type) else None
    if not tied:
        raise CheckpointError(
            f"{file.path}: {_OUTPUT} differs from token_embd.weight; GPT-2's output layer is tied "
            "to its embeddings"
        )
    return finer


def _rounding(kind: str) -> float:
    """The largest error of a row stored as this kind, as a share of its norm.

    Of numbers spread as a normal distribution, b bits with one scale for 32 numbers leave an error
    of about 0.08 * 2^(4 - b); twice that is allowed.
    """
    floats = {"F64": 0.0, "F32": 2.0**-24, "F16": 2.0**-10, "BF16": 2.0**-7}
    if kind in floats:
        return floats[kind]
    bits = re.search(r"[1-9]", kind)
    return min(0.5, 0.16 * 2.0 ** (4 - int(bits[0]))) if bits else 0.5


def read_tensors(file: GgufFile, hparams: HParams, kind: str) -> dict[str, np.ndarray]:
    path, stored = file.path, dict(file.header.tensors)
    names = gguf_names(hparams)
    output = stored.pop(_OUTPUT, None)
    ours = {other: (name, transposed) for name, (other, transposed) in names.items()}
    arrived = {}
    for other, info in stored.items():
        name, transposed = ours.get(other, (other, False))
        arrived[name] = info.shape[::-1] if transposed else info.shape
    check_shapes(arrived, hparams, path)
    finer = None
    if output is not None:
        finer = _finer_output(file, output, stored["token_embd.weight"])
    check_memory(sum(4 * prod(info.shape) for info in stored.values() if info.type != "F32"), path)

    tensors = {}
    for name, (other, transposed) in names.items():
        numbers = finer if finer is not None and name == "wte.weight" else file.tensor(other)
        check_finite({other: numbers}, path)
        tensors[name] = numbers.T if transposed else numbers
    return tensors


def architecture(hparams: HParams) -> str:
    """llama.cpp's name of what computes such a model."""
    return ARCHITECTURES[0]


def parts(hparams: HParams) -> dict[str, list[Part]]:
    names, table = gguf_names(hparams), {}
    for name, shape in shapes(hparams).items():
        other, turned = names[name]
        table[name] = [Part(name=other, shape=shape[::-1] if turned else shape, turned=turned)]
    return table


def extra_tensors(hparams: HParams) -> dict[str, np.ndarray]:
    """None."""
    return {}


def write_hparams(writer: Any, hparams: HParams) -> None:
    """What the file says beside the five. writer: the package's, of this architecture."""
    writer.add_layer_norm_eps(_LAYER_NORM_EPSILON)
