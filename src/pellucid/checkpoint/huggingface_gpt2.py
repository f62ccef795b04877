"""GPT-2 as Hugging Face's files hold it (`huggingface.Layout`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..hparams import HParams
from ..weights import shapes
from .contents import check_shapes
from .huggingface_config import read_config
from .names import LM_HEAD, PREFIX, our_names
from .parts import Part
from .safetensors_file import SafetensorsFile
from .tied import check_dtypes, finer_head

__all__ = ["KINDS", "is_padding", "parts", "read_config", "read_tensors", "write_config"]

KINDS = ("gpt2",)


def read_tensors(
    files: Mapping[str, SafetensorsFile], hparams: HParams, source: Path
) -> dict[str, np.ndarray]:
    table = our_names(files, source)
    head = table.pop(LM_HEAD, None)
    check_dtypes(files, [table[name] for name in shapes(hparams) if name in table], source)
    arrived = {ours: files[theirs].places[theirs].shape for ours, theirs in table.items()}
    check_shapes(arrived, hparams, source)
    if head is not None and finer_head(files, head, table["wte.weight"], source):
        table["wte.weight"] = head
    return {ours: files[table[ours]].tensor(table[ours]) for ours in shapes(hparams)}


def is_padding(n_rows: int, n_vocab: int) -> bool:
    """Whether n_rows is n_vocab rounded up to a multiple of 8, 16, ... 1024, as transformers'
    `pad_to_multiple_of` and training programs do for speed."""
    return n_rows > n_vocab and any(-n_vocab % 2**i == n_rows - n_vocab for i in range(3, 11))


def parts(hparams: HParams) -> dict[str, list[Part]]:
    return {
        name: [Part(name=PREFIX + name, shape=shape, turned=False)]
        for name, shape in shapes(hparams).items()
    }


def write_config(hparams: HParams, dtype: str) -> dict[str, Any]:
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5,
        "model_type": "gpt2",
        "n_ctx": hparams.n_ctx,
        "n_embd": hparams.n_embd,
        "n_head": hparams.n_head,
        "n_inner": None,
        "n_layer": hparams.n_layer,
        "n_positions": hparams.n_ctx,
        "resid_pdrop": 0.1,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "vocab_size": hparams.n_vocab,
    }
