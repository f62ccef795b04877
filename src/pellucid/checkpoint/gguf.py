"""Models in llama.cpp's file format, GGUF."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ..errors import CheckpointError, TokenizerError
from ..hparams import HParams
from ..tokenizer import Tokenizer
from . import gguf_gpt2, gguf_llama
from .chat_template import recognised
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_tokenizer,
    padding_note,
)
from .gguf_file import GgufFile, Metadata
from .gguf_tokenizer import read_roles, read_tokenizer
from .parts import Part

__all__ = ["LAYOUTS", "NOTES", "Layout", "read", "read_only_tokenizer"]

NOTES = "pellucid.checkpoint"  # what `gguf_writing` adds for us, as JSON: template, card, roles
_CHAT = "tokenizer.chat_template"


class Layout(Protocol):
    """How a family lies in such a file: what a module of each has.

    ARCHITECTURES: llama.cpp's names of it; `architecture` says which a model is of. parts: our
    names → the tensors that each is stored as. extra_tensors: what is stored and no weight.
    """

    @property
    def ARCHITECTURES(self) -> Collection[str]: ...
    def read_hparams(self, metadata: Metadata, file: GgufFile, /) -> tuple[HParams, dict[str, Any]]:
        """The hyperparameters, and what a card says of them."""

    def read_tensors(
        self, file: GgufFile, hparams: HParams, kind: str, /
    ) -> dict[str, np.ndarray]: ...
    def architecture(self, hparams: HParams, /) -> str: ...
    def parts(self, hparams: HParams, /) -> dict[str, list[Part]]: ...
    def extra_tensors(self, hparams: HParams, /) -> dict[str, np.ndarray]: ...
    def write_hparams(self, writer: Any, hparams: HParams, /) -> None: ...


LAYOUTS: dict[str, Layout] = {"gpt2": gguf_gpt2, "llama": gguf_llama}


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


def read_only_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Of a file that `read` has read. Raises TokenizerError where there is none now."""
    file = GgufFile(path)
    tokenizer = read_tokenizer(Metadata(file.header.metadata, file.path))
    if tokenizer is None or isinstance(tokenizer, str):
        raise TokenizerError(f"{file.path} has no tokenizer that Pellucid reads: {tokenizer}")
    return tokenizer


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
    _check_whole_model(metadata)
    kind = metadata.string("general.architecture")
    layout = next((each for each in LAYOUTS.values() if kind in each.ARCHITECTURES), None)
    if layout is None:
        known = ", ".join(name for each in LAYOUTS.values() for name in each.ARCHITECTURES)
        raise CheckpointError(
            f"{path}: holds a model of architecture {kind!r}; Pellucid reads {known}"
        )
    hparams, about = layout.read_hparams(metadata, file)
    tensors = layout.read_tensors(file, hparams, kind)
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
