"""Make the embedded model `induction`, a GPT whose heads are known: they were built by hand.

    python recipes/induction/make.py [--out FOLDER]

Two layers of two heads that complete "…ab…a" with "b". `planted` says how; nothing is trained, so
each run writes the same bytes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pellucid import checkpoint
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from pellucid.weights import shapes

EMBEDDED = Path(__file__).parents[2] / "src" / "pellucid" / "embedded" / "induction"
# Where each kind of head stands, (layer, head).
HEADS = {
    "previous token": (0, 0),
    "first token": (0, 1),
    "induction": (1, 0),
    "duplicate token": (1, 1),
}
# Every byte by its bits, as -1 and 1.
CODES = 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(float) - 1
HPARAMS = HParams(n_vocab=256, n_ctx=12, n_embd=56, n_head=2, n_layer=2)


def planted(
    hparams: HParams, codes: np.ndarray, heads: Mapping[str, tuple[int, int]]
) -> dict[str, np.ndarray]:
    """The weights. codes [n_vocab, n]: what stands for each token in the stream, all of one length.
    heads: kind -> (layer, head), of "previous token", "first token" and "self" in layer 0,
    "induction" and "duplicate token" in layer 1; a kind that is left out is not built.

    The residual stream has three places, each a code and its negative (so that every vector has
    mean 0 and the layer norms only divide): the token here, the position, and the token before.
    Layer 0 writes the third through its previous-token head; in layer 1 the induction head looks
    for a position whose token before is the token here, and writes the token it finds there where
    the unembedding reads. All vectors in a layer are equally long, so each norm's scale is one
    known number, which its gain takes back. The MLPs do nothing.
    """
    n, n_ctx, n_embd, d_k = codes.shape[1], hparams.n_ctx, hparams.n_embd, hparams.d_k
    half = n_embd // 2
    if half < 2 * n + n_ctx or d_k < n + n_ctx:
        raise ValueError(f"{hparams} has no room for codes of {n} at {n_ctx} positions")
    t = {name: np.zeros(shape) for name, shape in shapes(hparams).items()}
    token, position, before = 0, n, n + n_ctx  # where each place begins

    def plus_minus(table: np.ndarray, rows: np.ndarray, start: int) -> None:
        table[:, start : start + rows.shape[1]] = rows
        table[:, half:] = -table[:, :half]

    plus_minus(t["wte.weight"], codes, token)
    plus_minus(t["wpe.weight"], np.eye(n_ctx), position)
    alike = codes @ codes.T
    match = float(alike[0, 0])
    gap = match - float((alike - np.diag(np.diag(alike))).max())  # to what is nearly the same

    def scale(tokens: int) -> float:  # of the sum of so many tokens' codes and a position's
        return math.sqrt(2 * (tokens * match + 1) / n_embd)

    t["h.0.ln_1.weight"][:] = scale(1)
    t["h.1.ln_1.weight"][:] = scale(2)
    t["h.0.ln_2.weight"][:] = t["h.1.ln_2.weight"][:] = 1
    t["ln_f.weight"][:] = 4 * scale(2)

    def head(kind, reads_q, reads_k, reads_v=None, writes=None, strength=1.0):
        """reads_q, reads_k: (place, number of d_k, weight); summed."""
        if kind not in heads:
            return
        layer, number = heads[kind]
        w, out = t[f"h.{layer}.attn.c_attn.weight"], t[f"h.{layer}.attn.c_proj.weight"]
        low = number * d_k
        for offset, reads in ((0, reads_q), (n_embd, reads_k)):
            for row, column, weight in reads:
                w[row, offset + low + column] += weight
        if reads_v is not None:
            for i in range(n):
                w[reads_v + i, 2 * n_embd + low + i] = 1
                out[low + i, writes + i] = strength
                out[low + i, half + writes + i] = -strength

    sharp = 12 * math.sqrt(d_k)  # attention after softmax is then all but 0 or 1
    places = range(n_ctx)
    here = [(position + p, p, sharp) for p in places]
    # q of position p meets k of position p - 1; position 0 sees only itself
    back = [(position + p, p + 1, 1) for p in places[:-1]]
    head("previous token", here, back, token, before)
    head("first token", [(position + p, 0, sharp) for p in places], [(position, 0, 1)])
    head("self", here, [(position + p, p, 1) for p in places])
    same = [(token + i, i, sharp / gap) for i in range(n)]
    never = -2 * sharp / gap * match  # stronger than any match
    # At position 0 "the token before" is the token itself: nobody is to find it there.
    head(
        "induction",
        same + [(position + p, n, never) for p in places],
        [(before + i, i, 1) for i in range(n)] + [(position, n, 1)],
        token,
        token,
        strength=3,
    )
    # the same token, but not this one
    head(
        "duplicate token",
        same + [(position + p, n + p, never) for p in places],
        [(token + i, i, 1) for i in range(n)] + [(position + p, n + p, 1) for p in places],
    )
    return t


def make(folder: Path) -> None:
    """Write the model there."""
    tokenizer = Tokenizer.train([], 256, special=())
    checkpoint.save(
        folder,
        HPARAMS,
        planted(HPARAMS, CODES[[tokenizer.bytes_of(i)[0] for i in range(256)]], HEADS),
        tokenizer,
        dtype="float16",
        card={
            "name": "induction",
            "about": "A GPT built by hand: every head does one known thing. It goes on with what "
            "followed the same letter before: abcdabc, then d.",
            "command": "python recipes/induction/make.py",
            "data": "none: nothing was trained",
            "licence": "MIT, as Pellucid",
            "parameters": HPARAMS.n_params,
            "heads": {kind: list(at) for kind, at in HEADS.items()},
            "sampling": {"greedy": True},
            "limits": "It sees 12 bytes at a time and knows nothing of any of them. Where nothing "
            "has occurred before, what it says means nothing. Its MLPs do nothing.",
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    folder = parser.parse_args().out
    make(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"wrote {folder} ({size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
