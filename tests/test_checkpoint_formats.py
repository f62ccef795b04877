"""One model in each format that Pellucid reads: the same tensors, tokens and greedy ids."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.backend import get_backend
from pellucid.errors import InputError
from pellucid.hparams import SIZES, HParams
from pellucid.model import Pass, forward
from pellucid.weights import shapes, unflatten
from support.program import captured
from support.skips import needs

SUPPORT = Path(__file__).parent / "support"
FORMATS = ("pellucid", "hf", "hf-sharded", "openai", "gguf")
TINY = HParams(n_vocab=300, n_ctx=16, n_embd=24, n_head=3, n_layer=2)


@pytest.fixture
def random_checkpoint():
    from support import random_checkpoint

    return random_checkpoint


def greedy(found: checkpoint.Checkpoint, prompt: list[int], count: int) -> list[int]:
    backend = get_backend("numpy")
    tensors = {name: backend.asarray(tensor) for name, tensor in found.tensors.items()}
    weights = unflatten(tensors, found.hparams)
    ids = list(prompt)
    for _ in range(count):
        logits = forward(np.array([ids]), weights, Pass(found.hparams, backend, last_only=True))
        ids.append(int(backend.to_numpy(logits)[0, -1].argmax()))
    return ids


def all_alike(make, folder: Path, hparams: HParams, count: int) -> None:
    prompt = [11, hparams.n_vocab - 1, 7]
    first = None
    for format in FORMATS:
        if format == "gguf":
            needs("gguf")
        path = make(folder / (f"{format}.gguf" if format == "gguf" else format), hparams, format)
        assert checkpoint.detect(path) == format.removesuffix("-sharded")
        found = checkpoint.load(path)
        assert found.hparams == hparams
        assert set(found.tensors) == set(shapes(hparams))
        assert found.tokenizer is not None
        text = "The power clapper, ünï<|endoftext|>"
        seen = (greedy(found, prompt, count), found.tokenizer.encode(text))
        if first is None:
            first, wanted = seen, {name: np.array(t) for name, t in found.tensors.items()}
        assert seen == first, format
        for name, tensor in wanted.items():
            np.testing.assert_array_equal(found.tensors[name], tensor, err_msg=f"{format} {name}")


def test_every_format_says_the_same(random_checkpoint, tmp_path: Path) -> None:
    all_alike(random_checkpoint.make, tmp_path, TINY, 8)


@pytest.mark.slow
def test_every_format_says_the_same_at_124m(random_checkpoint, tmp_path: Path) -> None:
    all_alike(random_checkpoint.make, tmp_path, SIZES["gpt2"], 4)


def test_biases_and_gains_are_random_and_seeded(random_checkpoint) -> None:
    one, same, other = (random_checkpoint.random_tensors(TINY, seed) for seed in (1, 1, 2))
    for name, tensor in one.items():
        assert np.unique(tensor).size > tensor.size // 2, name
        np.testing.assert_array_equal(tensor, same[name])
        assert not np.array_equal(tensor, other[name])


def test_the_script(tmp_path: Path) -> None:
    script = SUPPORT / "random_checkpoint.py"
    command = [sys.executable, script, tmp_path / "model", "--size", "talk", "--format", "hf"]
    done = captured(command, check=True)
    assert done.stdout.strip() == str(tmp_path / "model")
    assert checkpoint.load(tmp_path / "model").hparams == SIZES["talk"]
    again = [*command[:2], tmp_path / "model" / "config.json", *command[3:]]
    refused = captured(again)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_other_formats_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format must be one of"):
        checkpoint.save(tmp_path / "x", TINY, {}, format="openai")
