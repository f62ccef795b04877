"""What the cache holds is each sequence's own, and what lies behind a length never counts."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.hparams import HParams
from pellucid.model import Model
from support.models import Reader, model, near, parameters, run
from support.skips import BACKENDS

HPARAMS = HParams(n_vocab=40, n_ctx=24, n_embd=12, n_head=3, n_layer=2)


@pytest.fixture(params=BACKENDS)
def m(request) -> Model:
    return model(HPARAMS, parameters(HPARAMS), request.param, "float64")


def tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, HPARAMS.n_vocab, shape)


def test_forks_do_not_see_each_other(m: Model) -> None:
    """Both go on in turns from the same place, with different tokens."""
    start, left, right = tokens(18)[:6], tokens(18)[6:12], tokens(18)[12:]
    mine = m.new_cache()
    run(m, start, cache=mine)
    its = mine.fork()
    for i in range(6):
        for cache, way in ((mine, left), (its, right)):
            got = run(m, way[i : i + 1], cache=cache)[0]
            whole = run(m, [*start, *way[: i + 1]])[-1]
            np.testing.assert_allclose(got, whole, rtol=0, atol=near(m.backend.name, 1e-10))


@pytest.mark.parametrize("watched", [False, True])
def test_ragged_rows_fused_and_explicit(m: Model, watched: bool) -> None:
    """Rows of 1, 4 and 9 tokens, then a chunk and single tokens: each as if it were alone."""
    lengths, prompt, more = [1, 4, 9], tokens(3, 9), tokens(3, 5)
    cache = m.new_cache(3)
    tap = Reader(m) if watched else None
    run(m, prompt, cache=cache, lengths=lengths, tap=tap)
    parts = [run(m, more[:, a:b], cache=cache, tap=tap) for a, b in ((0, 3), (3, 4), (4, 5))]
    got = np.concatenate(parts, 1)
    for row, n in enumerate(lengths):
        alone = run(m, [*prompt[row, :n], *more[row]])[n:]
        np.testing.assert_allclose(got[row], alone, rtol=0, atol=near(m.backend.name, 1e-10))
