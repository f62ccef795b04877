"""Models for the tests of `pellucid.inspect`: one whose circuits are known because they were
built by hand, and one with random weights in which every part matters."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.weights import initialise
from support.models import model

# What also makes the embedded model `induction`.
RECIPE = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "induction" / "make.py"))
LETTERS = "abcdefghijklmnop"


class Letters:
    """A tokenizer whose tokens are single letters."""

    end_of_text = None
    special_tokens: dict[str, int] = {}  # noqa: RUF012
    n_vocab = len(LETTERS)
    unused: frozenset[int] = frozenset()

    def framed(self, ids, *, ends: bool = True) -> list[int]:
        return list(ids)

    def encode(self, text: str) -> list[int]:
        return [LETTERS.index(letter) for letter in text]

    def decode(self, ids) -> str:
        return "".join(LETTERS[i] for i in ids)

    def decode_bytes(self, ids) -> bytes:
        return self.decode(ids).encode()

    def bytes_of(self, token: int) -> bytes:
        return LETTERS[token].encode()

    def stream(self):
        return self

    def push(self, token: int) -> str:
        return LETTERS[token]

    def flush(self) -> str:
        return ""


def build(hparams, tensors, dtype="float32", backend="numpy") -> GPT:
    return GPT(model(hparams, tensors, backend, dtype, threads=1), Letters(), name="circuits")


def random_gpt(dtype="float32", seed=0, backend="numpy", **changes) -> GPT:
    """Weights, gains and biases all large enough that leaving one out would show."""
    hparams = HParams(
        **{"n_vocab": 16, "n_ctx": 24, "n_embd": 24, "n_head": 3, "n_layer": 3} | changes
    )
    rng = np.random.default_rng(seed)
    tensors = {
        name: value * 12 + rng.normal(0, 0.3, value.shape) * ("bias" in name or "ln_" in name)
        for name, value in initialise(hparams, seed, np.float64).items()
    }
    for name in tensors:
        if "ln_" in name and name.endswith("weight"):
            tensors[name] = 1 + rng.normal(0, 0.2, tensors[name].shape)
    return build(hparams, tensors, dtype, backend)


# The planted heads, as (layer, head).
FIRST = (0, 0)
PREVIOUS = (0, 1)
SELF = (0, 2)
DUPLICATE = (1, 0)
INDUCTION = (1, 2)
IDLE = (1, 3)


def induction_gpt(dtype="float32", backend="numpy") -> GPT:
    """Two layers that complete "…ab…a" with "b", by known circuits; the MLPs do nothing."""
    hparams = HParams(n_vocab=16, n_ctx=32, n_embd=256, n_head=4, n_layer=2)
    heads = {
        "first token": FIRST,
        "previous token": PREVIOUS,
        "self": SELF,
        "duplicate token": DUPLICATE,
        "induction": INDUCTION,
    }
    return build(hparams, RECIPE["planted"](hparams, np.eye(16), heads), dtype, backend)
