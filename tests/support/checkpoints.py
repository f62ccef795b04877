"""Tensors, a vocabulary and small changes, for tests of model files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.checkpoint import Checkpoint
from pellucid.hparams import HParams
from pellucid.weights import shapes
from support.vocabulary import MERGES, VOCAB, byte_spelling

__all__ = ["byte_vocabulary", "normal_tensors", "read_as_written", "reconfigure"]


def normal_tensors(hparams: HParams, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(s, dtype=np.float32) for n, s in shapes(hparams).items()}


def byte_vocabulary(
    folder: Path, vocab: str = "encoder.json", merges: str = "vocab.bpe", *, n_merges: int = 3
) -> Path:
    """260 tokens in two files: the bytes, three merges, the end of text. -> the folder."""
    pairs = [("a", "b"), ("ab", "c"), ("Ġ", "t")][:n_merges]
    tokens = [*byte_spelling(), *(a + b for a, b in pairs), "<|endoftext|>"]
    (folder / vocab).write_text(json.dumps({t: i for i, t in enumerate(tokens)}), "utf-8")
    lines = "".join(f"{a} {b}\n" for a, b in pairs)
    (folder / merges).write_text(f"#version: 0.2\n{lines}", "utf-8")
    return folder


def reconfigure(folder: Path, **values: Any) -> None:
    """Change keys of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def read_as_written(
    loaded: Checkpoint, path: Path, hparams: HParams, tensors: dict[str, np.ndarray]
) -> None:
    """Every number of float32, mapped and not copied, and the small vocabulary."""
    assert (loaded.hparams, loaded.path) == (hparams, path)
    assert list(loaded.tensors) == list(shapes(hparams))
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(loaded.tensors[name], tensor)
        assert not loaded.tensors[name].flags.owndata
        assert not loaded.tensors[name].flags.writeable
    tokenizer = loaded.tokenizer
    assert tokenizer is not None
    assert tokenizer.n_vocab == hparams.n_vocab
    assert tokenizer.encode("the") == [VOCAB["".join(MERGES[0])], VOCAB["e"]]
