"""Models in llama.cpp's file format, GGUF; of GPT-2 also names, hyperparameters and vocabulary."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from math import isclose, prod
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..hparams import HParams
from ..weights import shapes
from . import gguf_llama
from .chat_template import recognised
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_finite,
    check_memory,
    check_shapes,
    check_tokenizer,
    hparams_from,
    padding_note,
)
from .gguf_file import GgufFile, Header, Metadata, TensorInfo
from .gguf_tokenizer import read_roles, read_tokenizer

__all__ = ["ARCHITECTURE", "NOTES", "gguf_names", "read"]

ARCHITECTURE = "gpt2"
NOTES = "pellucid.checkpoint"  # what `gguf_writing` adds for us, as JSON: template, card, roles
_LAYER_NORM_EPSILON = 1e-5
_CHAT = "tokenizer.chat_template"

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


def _hparams(metadata: Metadata, header: Header) -> HParams:
    source = metadata.source
    _check_whole_model(metadata)
    architecture = metadata.string("general.architecture")
    if architecture != ARCHITECTURE:
        known = ", ".join((ARCHITECTURE, *gguf_llama.ARCHITECTURES))
        raise CheckpointError(
            f"{source}: holds a model of architecture {architecture!r}; Pellucid reads {known}"
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


def _check_whole_model(metadata: Metadata) -> None:
    """One file of several, or no model at all: named as what it is."""
    source, kind = metadata.source, metadata.values.get("general.type", b"model")
    if kind != b"model":
        raise CheckpointError(
            f"{source} holds {metadata.string('general.type')!r}, no model: give the model that it "
            "belongs to (a LoRA adapter is merged by llama.cpp's llama-export-lora)"
        )
    if metadata.values.get("split.count", 0) not in (0, 1):
        raise CheckpointError(
            f"{source} is one of {metadata.integer('split.count')} parts: put them together with "
            "llama.cpp's `llama-gguf-split --merge FIRST-PART whole.gguf`"
        )


def _notes(metadata: Metadata) -> tuple[str | None, dict[str, Any], dict[str, Any] | None]:
    """What `gguf_writing` put there for Pellucid -> template, card, and roles where it says some;
    of other files the name alone."""
    if NOTES not in metadata.values:
        named = "general.name" in metadata.values
        return None, {"name": metadata.string("general.name")} if named else {}, None
    source = f"{metadata.source}: the metadata {NOTES!r}"
    table = READER.parse_object(metadata.string(NOTES).encode(), source)
    template, card, roles = (table.get(key) for key in ("template", "card", "roles"))
    if set(table) != {"template", "card", "roles"} or not (
        isinstance(template, str | None) and isinstance(card, dict) and isinstance(roles, dict)
    ):
        raise CheckpointError(f"{source} must be a template, a card and roles")
    return template, card, roles


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


def _gpt2_tensors(file: GgufFile, hparams: HParams) -> dict[str, np.ndarray]:
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


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """A GPT-2 or a Llama in a GGUF file, as llama.cpp's `convert_hf_to_gguf.py` and
    `llama-quantize` write it.

    The tensors are float32 by our names and shapes: views of the memory-mapped file where it
    holds float32 (linear maps transposed by the view), else dequantised here. F32, F16 and BF16
    need no further package, the quantised kinds need the extra [gguf]. Raises CheckpointError: the
    file is malformed or cut short; another architecture, tokenizer or ε; tensors missing, extra
    or misshapen; an `output.weight` that is not the token embeddings; NaN or infinity.
    """
    file = GgufFile(path)
    path = file.path
    metadata = Metadata(file.header.metadata, path)
    about: dict[str, Any] = {}
    hparams: HParams
    if (kind := metadata.string("general.architecture")) in gguf_llama.ARCHITECTURES:
        _check_whole_model(metadata)
        llama, about = gguf_llama.read_hparams(metadata, file)
        hparams, tensors = llama, gguf_llama.read_tensors(file, llama, kind)
    else:
        hparams = _hparams(metadata, file.header)
        tensors = _gpt2_tensors(file, hparams)
    template, card, notes = _notes(metadata)
    card |= about
    tokenizer = read_tokenizer(metadata)
    if isinstance(tokenizer, str):
        card["no_tokenizer"], tokenizer = tokenizer, None
    if tokenizer is not None:
        if template is None and _CHAT in metadata.values:
            template = recognised(metadata.string(_CHAT), tokenizer, card)
        padded = len(metadata.values["tokenizer.ggml.tokens"]) - tokenizer.n_vocab
        if padded and tokenizer.n_vocab + padded == hparams.n_vocab:
            card["padding"] = padding_note(hparams.n_vocab, tokenizer.n_vocab)
            hparams = replace(hparams, n_vocab=tokenizer.n_vocab)
            for name in {"wte.weight", "lm_head.weight"} & set(tensors):
                tensors[name] = tensors[name][: hparams.n_vocab]
        check_tokenizer(tokenizer, hparams, path)
    return Checkpoint(
        hparams=hparams,
        tensors=tensors,
        tokenizer=tokenizer,
        card=card,
        template=template,
        path=path,
        roles=read_roles(metadata, hparams.n_vocab, notes) if tokenizer is not None else Roles(),
    )
