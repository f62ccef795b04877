"""`view`: one pass over the text, and the same answers as from each question by itself."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import inspect
from pellucid.errors import InputError
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.inspect.patterns import patterns_of
from pellucid.taps import compose
from pellucid.weights import initialise
from support.circuits import Letters, random_gpt
from support.models import model, near
from support.skips import BACKENDS


class Numbers(Letters):
    """A tokenizer of very many tokens."""

    n_vocab = 40_000

    def decode(self, ids) -> str:
        return "".join(f"{i} " for i in ids)

    def bytes_of(self, token: int) -> bytes:
        return self.decode([token]).encode()


def same(ours: object, theirs: object, atol: float) -> None:
    for name, value in vars(theirs).items():
        mine = getattr(ours, name)
        if isinstance(value, np.ndarray | float):
            np.testing.assert_allclose(mine, value, rtol=0, atol=atol, err_msg=name)
        else:
            assert mine == value, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("target", "versus"), [(None, None), (3, 5)])
def test_the_answers_are_those_of_each_question(backend: str, target, versus) -> None:
    gpt = random_gpt(backend=backend, dtype="float64")
    atol = near(backend, 1e-12)
    ids = [1, 5, 2, 5, 1, 5, 3]
    seen = inspect.view(gpt, ids, target, versus=versus)
    same(seen.prediction, inspect.prediction(gpt, ids), atol)
    same(seen.attention, inspect.attention(gpt, ids), atol)
    same(seen.lens, inspect.logit_lens(gpt, ids), atol)
    same(seen.attribution, inspect.attribute(gpt, ids, target, versus=versus), atol)
    same(seen.norms, inspect.residual_norms(gpt, ids), atol)


def test_of_a_long_text_the_lens_reads_the_last_positions() -> None:
    hparams = HParams(n_vocab=40_000, n_ctx=400, n_embd=12, n_head=3, n_layer=3)
    gpt = GPT(model(hparams, initialise(hparams, 0), "numpy", "float64"), Numbers())
    ids = np.random.default_rng(0).integers(0, 40_000, 300).tolist()
    seen = inspect.view(gpt, ids, labels=False)
    first = seen.lens.positions[0]
    assert 100 < first < 200
    assert seen.lens.positions == tuple(range(first, 300))
    same(seen.lens, inspect.logit_lens(gpt, ids, positions=range(first, 300)), 1e-10)
    same(seen.prediction, inspect.prediction(gpt, ids), 1e-10)
    assert not seen.lens.divergence[-1].any()
    (section,) = (each for each in seen.sections() if each.kind == "LogitLens")
    assert section.notes[-1].startswith(f"Of 300 positions the last {300 - first} are read out")
    short = inspect.view(gpt, ids[:20], labels=False)
    assert short.lens.positions == tuple(range(20))
    assert not any(each.notes for each in short.sections() if each.kind == "LogitLens")


def test_one_pass_feeds_all() -> None:
    gpt = random_gpt()
    ids, passes = [1, 5, 2, 5], []
    forward = gpt.forward

    def counted(tokens, *args, **options):
        passes.append(np.shape(tokens))
        return forward(tokens, *args, **options)

    gpt.forward = counted
    inspect.view(gpt, ids, labels=False)
    assert passes == [(1, 4)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_patterns_are_those_that_a_pass_writes_down(dtype: str) -> None:
    gpt = random_gpt(dtype=dtype, n_ctx=200, n_embd=48, n_head=4)
    ids = np.random.default_rng(1).integers(0, 16, 200)
    qk = inspect.Recorder(gpt, ["attn.q", "attn.k"])
    written = inspect.Recorder(gpt, "attn.pattern")
    gpt.forward([ids], tap=compose(qk, written))
    computed = patterns_of(gpt, qk.passes[0])
    for layer, pattern in enumerate(written.passes[0].values()):
        np.testing.assert_array_equal(computed[layer], pattern[0])


def test_a_budget_that_is_too_small() -> None:
    gpt = random_gpt()
    with pytest.raises(InputError, match="budget"):
        inspect.view(gpt, [1, 2, 3], budget_bytes=10)
