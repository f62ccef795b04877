"""The Llama family's page beside an oracle written from the formulas, and every fast path of it."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import ContextError, InputError
from pellucid.families import hparams_of
from pellucid.families.llama import LlamaHParams, Rope
from pellucid.taps import axes, sizes, tap_names
from pellucid.weights import shapes
from support import oracle_llama
from support.models import Reader, model, near, parameters, run
from support.skips import BACKENDS

FIVE = {"n_vocab": 61, "n_ctx": 24, "n_embd": 24, "n_head": 6, "n_layer": 2}
KINDS = {
    "llama": LlamaHParams(**FIVE, n_kv_head=2, d_head=4, n_inner=40, rope=Rope(theta=500.0)),
    "smollm2": LlamaHParams(**FIVE, n_kv_head=3, d_head=4, n_inner=32, tied=True),
    "qwen2": LlamaHParams(
        **FIVE, n_kv_head=1, d_head=4, n_inner=20, tied=True, qkv_bias=True, epsilon=1e-6
    ),
    "qwen3": LlamaHParams(**FIVE, n_kv_head=2, d_head=10, n_inner=40, qk_norm=True),
    "one head each": LlamaHParams(**FIVE, n_kv_head=6, d_head=4, n_inner=24),
}
TOKENS = np.random.default_rng(0).integers(0, 61, (2, 20))


@pytest.fixture(params=KINDS)
def kind(request):
    """A shape and random weights."""
    return KINDS[request.param], parameters(KINDS[request.param])


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_value_equals_the_oracles(backend: str, kind) -> None:
    hparams, p = kind
    expected = oracle_llama.oracle(TOKENS[0].tolist(), p, hparams)
    m = model(hparams, p, backend, "float64")
    atol = near(backend, 1e-10, *expected.values())
    reader = Reader(m)
    for logits in (run(m, TOKENS[0]), run(m, TOKENS[0], tap=reader)):
        np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=atol)
    assert list(reader.seen) == tap_names(hparams)
    lengths = sizes(hparams) | {"batch": 1, "position": 20, "query": 20, "key": 20}
    for name, value in reader.seen.items():
        np.testing.assert_allclose(value[0], expected[name], rtol=0, atol=atol, err_msg=name)
        assert value.shape == tuple(lengths[axis] for axis in axes(name, hparams)), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tapped", [False, True])
def test_cache_batches_and_the_last_logits(backend: str, tapped: bool, kind) -> None:
    hparams, p = kind
    m = model(hparams, p, backend, "float64")
    whole = run(m, TOKENS)
    atol = near(backend, 1e-10, whole)
    np.testing.assert_allclose(run(m, TOKENS[1]), whole[1], rtol=0, atol=atol)
    for chunk in (1, 7, 20):
        cache, tap = m.new_cache(2), Reader(m) if tapped else None
        parts = [
            run(m, TOKENS[:, i : i + chunk], cache=cache, tap=tap) for i in range(0, 20, chunk)
        ]
        np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=0, atol=atol)
    cache = m.new_cache(2)
    lengths = np.array([20, 9])
    last = run(m, TOKENS, cache=cache, lengths=lengths, last_only=True)
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(last[row, 0], whole[row, n - 1], rtol=0, atol=atol)
    more = run(m, TOKENS[:, :1], cache=cache)  # the rows stand at different positions
    alone = run(m, [*TOKENS[1, :9], TOKENS[1, 0]])[-1]
    np.testing.assert_allclose(more[1, 0], alone, rtol=0, atol=atol)
    np.testing.assert_allclose(
        run(m, TOKENS, only=[3, 19], tap=None), whole[:, [3, 19]], rtol=0, atol=atol
    )
    np.testing.assert_allclose(run(m, TOKENS, last_only=True), whole[:, -1:], rtol=0, atol=atol)


def test_what_a_tap_returns_is_what_the_model_goes_on_with(kind) -> None:
    hparams, p = kind
    m = model(hparams, p, dtype="float64")
    plain = run(m, TOKENS[0])

    def bent(value):  # neither a shift nor a scale: a norm would undo those
        return value + 0.1 * np.sin(np.arange(value.size)).reshape(value.shape)

    for name in tap_names(hparams):
        same = run(m, TOKENS[0], tap=lambda at, v, name=name: v * 1 if at == name else v)
        np.testing.assert_allclose(same, plain, rtol=0, atol=1e-10)
        other = run(m, TOKENS[0], tap=lambda at, v, name=name: bent(v) if at == name else v)
        assert np.abs(other - plain).max() > 1e-6, name


def test_the_parts_of_a_pass(kind) -> None:
    """What inspection asks `Model` for, beside the values of the pass."""
    hparams, p = kind
    m = model(hparams, p, dtype="float64")
    reader = Reader(m)
    logits = run(m, TOKENS, tap=reader)
    seen, (gain, bias) = reader.seen, m.final_norm()
    for layer in range(hparams.n_layer):
        at = f"blocks.{layer}"
        resumed = m.resume(seen[f"{at}.resid_pre"], layer)
        np.testing.assert_allclose(resumed, logits[:, -1], rtol=0, atol=1e-10)
        weight, shift = m.w_query(layer)
        q = np.einsum("bpn,nhd->bphd", seen[f"{at}.ln1.out"], weight) + shift
        np.testing.assert_allclose(q, seen[f"{at}.attn.q"], rtol=0, atol=1e-10)
        out = np.einsum("bphd,hdn->bpn", seen[f"{at}.attn.z"], m.w_output(layer))
        np.testing.assert_allclose(out + m.b_output(layer), seen[f"{at}.attn_out"], atol=1e-10)
    np.testing.assert_allclose(m.readout(seen["blocks.1.resid_post"]), logits, rtol=0, atol=1e-10)
    np.testing.assert_allclose(seen["ln_final.normalized"] * gain + bias, seen["ln_final.out"])
    np.testing.assert_allclose(m.embedding([3, 5]), p["wte.weight"][[3, 5]])
    head = p["wte.weight" if hparams.tied else "lm_head.weight"]
    np.testing.assert_allclose(m.unembedding(7), head[7])
    assert all((m.tensors()[name] == p[name]).all() for name in shapes(hparams))


def test_hyperparameters_are_checked_and_written(kind) -> None:
    hparams, p = kind
    assert hparams_of(hparams.to_dict()) == hparams
    assert hparams.n_params == sum(value.size for value in p.values())
    good = hparams.to_dict()
    for change in (
        {"n_kv_head": 4}, {"n_kv_head": 0}, {"d_head": 5}, {"n_inner": 1 << 30}, {"epsilon": 0},
        {"tied": 1}, {"rope": None}, {"rope": {"kind": "su"}}, {"rope": {"theta": -1.0}},
        {"rope": {"kind": "llama3"}}, {"rope": {"speed": 2}}, {"family": "bloom"}, {"n_extra": 1},
    ):  # fmt: skip
        with pytest.raises(InputError):
            hparams_of(good | change)
    with pytest.raises(ContextError):
        run(model(hparams, p), [0] * 25)
