"""Models for the tests of `pellucid.inspect`: one whose circuits are known because they were
built by hand, and one with random weights in which every part matters."""

from __future__ import annotations

import math

import numpy as np

from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.weights import initialise, shapes
from support.models import model

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
    """Two layers that complete "…ab…a" with "b", by known circuits; the MLPs do nothing.

    The residual stream has three places, each a one-hot code and its negative (so that every
    vector has mean 0 and the layer norms only divide): the token here, the position, and
    the token before. Layer 0 writes the third through its previous-token head; in layer 1 the
    induction head looks for a position whose token before is the token here, and writes the token
    it finds there where the unembedding reads. All vectors in a layer are equally long, so each
    norm's scale is one known number, which its gain takes back.
    """
    n_vocab, n_ctx, n_embd, n_head = 16, 32, 256, 4
    hparams = HParams(n_vocab, n_ctx, n_embd, n_head, 2)
    d_k, half = hparams.d_k, n_embd // 2
    t = {name: np.zeros(shape) for name, shape in shapes(hparams).items()}
    token, position, before = 0, n_vocab, n_vocab + n_ctx  # where each place begins

    def plus_minus(rows: int, start: int) -> np.ndarray:
        table = np.zeros((rows, n_embd))
        table[np.arange(rows), start + np.arange(rows)] = 1
        table[:, half:] = -table[:, :half]
        return table

    t["wte.weight"] = plus_minus(n_vocab, token)
    t["wpe.weight"] = plus_minus(n_ctx, position)

    def scale(vectors: int) -> float:  # of a sum of so many orthogonal vectors of length √2
        return math.sqrt(2 * vectors / n_embd)

    t["h.0.ln_1.weight"][:] = scale(2)  # token and position
    t["h.1.ln_1.weight"][:] = scale(3)  # and the token before
    t["h.0.ln_2.weight"][:] = t["h.1.ln_2.weight"][:] = 1
    t["ln_f.weight"][:] = 4 * scale(3)

    def head(at, reads_q, reads_k, reads_v=None, writes=None, strength=1.0):
        """reads_q, reads_k: (place, row of the code, number of d_k, weight); summed."""
        layer, number = at
        w, out = t[f"h.{layer}.attn.c_attn.weight"], t[f"h.{layer}.attn.c_proj.weight"]
        low = number * d_k
        for offset, reads in ((0, reads_q), (n_embd, reads_k)):
            for row, column, weight in reads:
                w[row, offset + low + column] += weight
        if reads_v is not None:
            for i in range(n_vocab):
                w[reads_v + i, 2 * n_embd + low + i] = 1
                out[low + i, writes + i] = strength
                out[low + i, half + writes + i] = -strength

    sharp = 12 * math.sqrt(d_k)  # attention after softmax is then all but 0 or 1
    positions, tokens = range(n_ctx), range(n_vocab)
    here = [(position + p, p, sharp) for p in positions]
    # q of position p meets k of position p - 1; position 0 sees only itself
    head(PREVIOUS, here, [(position + p, p + 1, 1) for p in positions[:-1]], token, before)
    head(FIRST, [(position + p, 0, sharp) for p in positions], [(position, 0, 1)])
    head(SELF, here, [(position + p, p, 1) for p in positions])
    same = [(token + i, i, sharp) for i in tokens]
    # At position 0 "the token before" is the token itself: its key is taken back.
    found = [(before + i, i, 1) for i in tokens] + [(position, i, -1) for i in tokens]
    head(INDUCTION, same, found, token, token, strength=3)
    # the same token, but not this one: the position speaks twice as strongly against it
    head(
        DUPLICATE,
        same + [(position + p, n_vocab + p, -2 * sharp) for p in positions],
        [(token + i, i, 1) for i in tokens] + [(position + p, n_vocab + p, 1) for p in positions],
    )
    return build(hparams, t, dtype, backend)
