"""The forward pass beside transformers and beside an oracle (RELIABILITY rows D1–D3, D6)."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.backend import get_backend
from pellucid.cache import Cache
from pellucid.errors import CheckpointError, ContextError, InputError
from pellucid.hparams import SIZES, HParams
from pellucid.taps import TAPS, tap_names
from pellucid.weights import initialise, unflatten
from support import oracle
from support.models import Reader, model, near, parameters, run
from support.skips import BACKENDS, needs


@st.composite
def cases(draw):
    n_head = draw(st.integers(1, 4))
    hparams = HParams(
        n_vocab=draw(st.integers(1, 30)),
        n_ctx=draw(st.integers(1, 12)),
        n_embd=n_head * draw(st.integers(1, 6)),
        n_head=n_head,
        n_layer=draw(st.integers(1, 3)),
    )
    n = draw(st.integers(1, hparams.n_ctx))
    tokens = draw(st.lists(st.integers(0, hparams.n_vocab - 1), min_size=n, max_size=n))
    return hparams, tokens, draw(st.integers(0, 10_000))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(case=cases())
def test_every_value_equals_the_oracles(backend: str, case) -> None:
    hparams, tokens, seed = case
    p = parameters(hparams, seed)
    expected = oracle.forward(tokens, p, hparams.n_head, hparams.n_layer)
    m = model(hparams, p, backend, "float64")
    atol = near(backend, 1e-10, *expected.values())
    np.testing.assert_allclose(run(m, tokens), expected["logits"], rtol=0, atol=atol)
    reader = Reader(m)
    np.testing.assert_allclose(run(m, tokens, tap=reader), expected["logits"], rtol=0, atol=atol)
    assert list(reader.seen) == tap_names(hparams)
    for name, value in reader.seen.items():
        np.testing.assert_allclose(value[0], expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def small():
    """A shape and random weights."""
    hparams = HParams(211, 64, 48, 4, 3)
    return hparams, {k: v.astype(np.float32) for k, v in parameters(hparams).items()}


@pytest.fixture(scope="module")
def theirs(small):
    """transformers' model with the same weights."""
    torch = needs("torch")
    transformers = needs("transformers")
    _, p = small
    config = transformers.GPT2Config(
        vocab_size=211, n_positions=64, n_embd=48, n_head=4, n_layer=3,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    state = {f"transformer.{k}": torch.tensor(v) for k, v in p.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    theirs.load_state_dict(state)
    return theirs


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_equal_transformers(theirs, small, backend: str) -> None:
    torch = needs("torch")
    hparams, p = small
    m = model(hparams, p, backend)
    rng = np.random.default_rng(1)
    for _ in range(50):
        tokens = rng.integers(0, hparams.n_vocab, rng.integers(1, 65))
        with torch.no_grad():
            expected = theirs(torch.tensor(tokens)[None]).logits[0].numpy()
        got = run(m, tokens)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
        shares = [np.exp(x - x.max(-1, keepdims=True)) for x in (got, expected)]
        shares = [x / x.sum(-1, keepdims=True) for x in shares]
        np.testing.assert_allclose(*shares, rtol=0, atol=1e-5)
        assert (got.argmax(-1) == expected.argmax(-1)).all()


def test_tapped_values_equal_transformers(theirs, small) -> None:
    torch = needs("torch")
    hparams, p = small
    m = model(hparams, p)
    tokens = np.random.default_rng(2).integers(0, hparams.n_vocab, (2, 40))
    reader = Reader(m)
    run(m, tokens, tap=reader)
    with torch.no_grad():
        out = theirs(torch.tensor(tokens), output_attentions=True, output_hidden_states=True)
    for layer in range(hparams.n_layer):
        at = f"blocks.{layer}"
        pattern = reader.seen[f"{at}.attn.pattern"]
        np.testing.assert_allclose(pattern, out.attentions[layer].numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(pattern.sum(-1), 1, atol=1e-5)
        assert (pattern[..., *np.triu_indices(40, 1)] == 0).all()
        hidden = out.hidden_states[layer].numpy()
        np.testing.assert_allclose(reader.seen[f"{at}.resid_pre"], hidden, rtol=0, atol=1e-4)
    final = out.hidden_states[-1].numpy()
    np.testing.assert_allclose(reader.seen["ln_final.out"], final, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
@pytest.mark.parametrize("tapped", [False, True])
def test_cache_in_chunks(small, backend: str, chunk: int, tapped: bool) -> None:
    hparams, p = small
    m = model(hparams, p, backend)
    for n in (63, 64):  # up to the last place of the window
        tokens = np.random.default_rng(n).integers(0, hparams.n_vocab, n)
        whole = run(m, tokens)
        cache = m.new_cache()
        tap = Reader(m) if tapped else None
        parts = [run(m, tokens[i : i + chunk], cache=cache, tap=tap) for i in range(0, n, chunk)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-4)
        assert cache.length == n


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("known", [0, 7])
def test_the_last_logits_alone(small, backend: str, known: int) -> None:
    """Of the last layer only the last position is computed; with a tap that wants more, all."""
    hparams, p = small
    m = model(hparams, p, backend, "float64")
    tokens = np.random.default_rng(8).integers(0, hparams.n_vocab, (2, 30))
    whole, layer = run(m, tokens), hparams.n_layer - 1

    class Some(Reader):
        def __init__(self, wanted: str) -> None:
            super().__init__(m)
            self.wanted = wanted

        def wants(self, name):
            return name == self.wanted

    for tap, rows in (
        (None, 1), (Some("blocks.0.resid_post"), 1), (Some("logits"), 1),
        (Some(f"blocks.{layer}.mlp_out"), 30 - known),
        (Some(f"blocks.{layer}.attn.pattern"), 30 - known),
        (Some("ln_final.out"), 30 - known), (Reader(m), 30 - known),
    ):  # fmt: skip
        cache = m.new_cache(2)
        if known:
            run(m, tokens[:, :known], cache=cache, last_only=True)
        last = run(m, tokens[:, known:], cache=cache, last_only=True, tap=tap)
        np.testing.assert_allclose(last[:, 0], whole[:, -1], rtol=0, atol=near(backend, 1e-10))
        if tap is not None:
            assert tap.seen[f"blocks.{layer}.resid_post"].shape[1] == rows
            assert tap.seen[f"blocks.{layer}.attn.k"].shape[1] == 30 - known
        more = run(m, tokens[:, :3], cache=cache)  # keys and values of all positions are there
        expected = run(m, np.concatenate([tokens, tokens[:, :3]], 1))[:, 30:]
        np.testing.assert_allclose(more, expected, rtol=0, atol=near(backend, 1e-10))


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_different_lengths(small, backend: str) -> None:
    hparams, p = small
    m = model(hparams, p, backend)
    rng = np.random.default_rng(3)
    lengths = np.array([5, 32, 1, 17])
    tokens = rng.integers(0, hparams.n_vocab, (4, 32))
    more = rng.integers(0, hparams.n_vocab, (4, 3))
    cache = m.new_cache(4)
    batch = [run(m, tokens, cache=cache, lengths=lengths, last_only=True)]
    assert cache.lengths.tolist() == lengths.tolist()
    batch += [run(m, more[:, i : i + 1], cache=cache) for i in range(3)]
    for row, n in enumerate(lengths):
        alone = run(m, np.concatenate([tokens[row, :n], more[row]]))
        for step, logits in enumerate(batch):
            size = np.abs(alone).max()  # these weights are large: tens, where GPT-2 has ones
            np.testing.assert_allclose(
                logits[row, -1] / size, alone[n - 1 + step] / size, rtol=1e-5, atol=1e-5
            )


def test_cache_rewind_fork_and_broken_pass(small) -> None:
    hparams, p = small
    m = model(hparams, p)
    tokens = np.random.default_rng(4).integers(0, hparams.n_vocab, 20)
    cache = m.new_cache()
    run(m, tokens[:10], cache=cache)
    fork = cache.fork()
    first = run(m, tokens[10:], cache=cache)
    other = run(m, tokens[:5], cache=fork)
    np.testing.assert_allclose(other, run(m, [*tokens[:10], *tokens[:5]])[10:], atol=1e-4)
    assert (cache.length, fork.length) == (20, 15)
    cache.rewind(10)
    np.testing.assert_array_equal(run(m, tokens[10:], cache=cache), first)

    def breaks(name, value):
        if name == "blocks.1.resid_mid":
            raise KeyboardInterrupt
        return value

    cache.rewind(10)
    with pytest.raises(KeyboardInterrupt):
        run(m, tokens[:3], cache=cache, tap=breaks)
    assert cache.length == 10
    np.testing.assert_array_equal(run(m, tokens[10:], cache=cache), first)
    with pytest.raises(InputError, match="cannot rewind"):
        cache.rewind(21)


def test_what_does_not_fit_is_refused(small) -> None:
    hparams, p = small
    m = model(hparams, p)
    with pytest.raises(ContextError, match=r"65 tokens.*n_ctx = 64"):
        run(m, [0] * 65)
    cache = m.new_cache()
    run(m, [0] * 60, cache=cache)
    with pytest.raises(ContextError, match="60 tokens in the cache and 5 more"):
        run(m, [0] * 5, cache=cache)
    for bad in ([], [[]], [211], [-1], [0.5], [[[1]]]):
        with pytest.raises(InputError):
            run(m, bad)
    with pytest.raises(InputError, match="the cache holds 1"):
        run(m, [[1], [2]], cache=m.new_cache())
    with pytest.raises(InputError, match="lengths"):
        run(m, [[1, 2]], lengths=[3])
    with pytest.raises(InputError):
        Cache(hparams, m.backend, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tap_that_only_reads_changes_nothing(small, backend: str) -> None:
    hparams, p = small
    tokens = np.random.default_rng(5).integers(0, hparams.n_vocab, 50)
    m = model(hparams, p, backend)
    plain = run(m, tokens)
    np.testing.assert_allclose(run(m, tokens, tap=Reader(m)), plain, rtol=0, atol=1e-5)

    class Norms(Reader):  # the same kernels run: the same bits
        def wants(self, name):
            return False

    if backend == "numpy":
        np.testing.assert_array_equal(run(m, tokens, tap=Norms(m)), plain)


def test_what_a_tap_returns_is_what_the_model_goes_on_with(small) -> None:
    hparams, p = small
    m = model(hparams, p, dtype="float64")
    tokens = list(range(20))
    plain = run(m, tokens)

    def replacing(wanted, by):
        return lambda name, value: by(value) if name == wanted else value

    def bent(value):  # neither a shift nor a scale: a norm would undo those
        return value + 0.1 * np.sin(np.arange(value.size)).reshape(value.shape)

    for name in tap_names(hparams):
        same = run(m, tokens, tap=replacing(name, lambda value: value * 1))
        np.testing.assert_allclose(same, plain, rtol=0, atol=1e-10)
        assert np.abs(run(m, tokens, tap=replacing(name, bent)) - plain).max() > 1e-6, name
    # without its heads' output, a layer adds only the bias
    silent = run(m, tokens, tap=lambda at, v: v * 0 if at == "blocks.1.attn.z" else v)
    changed = dict(p)
    changed["h.1.attn.c_proj.weight"] = p["h.1.attn.c_proj.weight"] * 0
    np.testing.assert_allclose(
        silent, run(model(hparams, changed, dtype="float64"), tokens), atol=1e-10
    )


def test_what_nobody_wants_is_not_made(small) -> None:
    hparams, p = small
    m = model(hparams, p)

    class Residuals(Reader):
        def wants(self, name):
            return "resid" in name

    reader = Residuals(m)
    run(m, [1, 2, 3], tap=reader)
    assert "blocks.0.resid_mid" in reader.seen
    assert not [name for name in reader.seen if name.endswith(("result", "pattern", "scores"))]


def test_shapes_are_those_of_the_table() -> None:
    hparams = HParams(11, 9, 12, 3, 2)
    m = model(hparams, parameters(hparams))
    reader = Reader(m)
    run(m, [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]], tap=reader)
    sizes = {
        "batch": 2, "position": 5, "query": 5, "key": 5, "head": 3, "d_k": 4, "n_embd": 12,
        "4 · n_embd": 48, "n_vocab": 11, "1": 1, "1 or batch": 1,
    }  # fmt: skip
    for name, value in reader.seen.items():
        info = TAPS[re.sub(r"blocks\.\d+", "blocks.{i}", name)]
        assert value.shape == tuple(sizes[axis] for axis in info.shape[1:-1].split(", ")), name


@pytest.fixture(scope="module")
def exact():
    """A shape so large that numpy divides the work, weights, tokens and their exact logits."""
    hparams = HParams(500, 200, 384, 6, 2)
    p = {k: v * 0.2 if v.ndim > 1 else v for k, v in parameters(hparams).items()}
    tokens = np.random.default_rng(6).integers(0, 500, (2, 200))
    return hparams, p, tokens, run(model(hparams, p, dtype="float64", threads=2), tokens)


def test_torch_agrees(exact) -> None:
    needs("torch")
    hparams, p, tokens, exact = exact
    np.testing.assert_allclose(
        run(model(hparams, p, "torch", "float64"), tokens), exact, rtol=0, atol=1e-10
    )
    size = np.abs(exact).max()
    single = run(model(hparams, p, "torch"), tokens)
    np.testing.assert_allclose(single / size, exact / size, rtol=0, atol=1e-5)
    half = run(model(hparams, p, "torch", "bfloat16"), tokens)
    assert np.abs(half - exact).max() / size < 0.1


def test_divided_work_agrees(exact) -> None:
    """By two threads or one; all tokens together or one at a time."""
    hparams, p, tokens, exact = exact
    size = np.abs(exact).max()
    for threads in (1, 2):
        single = run(model(hparams, p, threads=threads), tokens)
        np.testing.assert_allclose(single / size, exact / size, rtol=0, atol=1e-5)
        m = model(hparams, p, dtype="float64", threads=threads)
        cache = m.new_cache()
        steps = [run(m, tokens[0, i : i + 1], cache=cache)[0] for i in range(30)]
        np.testing.assert_allclose(np.array(steps), exact[0, :30], rtol=0, atol=1e-10)


def test_hparams_are_closed_and_checked() -> None:
    assert SIZES["gpt2"].n_params == 124_439_808
    assert SIZES["gpt2"].d_k == 64
    assert HParams.from_dict(SIZES["talk"].to_dict()) == SIZES["talk"]
    with pytest.raises(AttributeError):
        SIZES["gpt2"].n_layer = 3  # type: ignore[misc]
    good = SIZES["talk"].to_dict()
    for change in (
        {"n_layer": 10**9}, {"n_layer": 0}, {"n_embd": -12}, {"n_head": 5}, {"n_ctx": "8"},
        {"n_vocab": True}, {"n_vocab": 1e308}, {"n_extra": 1}, {"n_embd": math.nan},
    ):  # fmt: skip
        with pytest.raises(InputError):
            HParams.from_dict(good | change)
    with pytest.raises(InputError, match="missing"):
        HParams.from_dict({"n_ctx": 8})


def test_weights_must_fit() -> None:
    hparams = HParams(5, 4, 6, 2, 1)
    p = parameters(hparams)
    with pytest.raises(CheckpointError, match=r"missing tensors: ln_f\.bias"):
        unflatten({k: v for k, v in p.items() if k != "ln_f.bias"}, hparams)
    with pytest.raises(CheckpointError, match=r"h\.1\.x"):
        unflatten({**p, "h.1.x": p["ln_f.bias"]}, hparams)
    with pytest.raises(CheckpointError, match="has shape"):
        unflatten({**p, "ln_f.bias": np.zeros(7)}, hparams)


def test_unknown_backends_and_types() -> None:
    for options in (
        {"name": "tpu"}, {"name": "numpy", "dtype": "int8"}, {"threads": 0},
        {"name": "numpy", "device": "cuda"}, {"dtype": "float16"}, {"device": "nowhere"},
        {"name": "torch", "dtype": "float8"}, {"name": "torch", "device": "nowhere"},
    ):  # fmt: skip
        with pytest.raises(InputError):
            get_backend(**options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_gpt2s_own_scale(backend: str) -> None:
    """GPT-2's initialisation and window: absolute bounds, up to the last of 1024 places."""
    hparams = HParams(101, 1024, 64, 4, 2)
    p = initialise(hparams, seed=3)
    tokens = np.random.default_rng(7).integers(0, 101, 1024)
    ours = model(hparams, p)
    whole = run(ours, tokens)
    if backend == "torch":
        theirs = run(model(hparams, p, backend), tokens)
        np.testing.assert_allclose(theirs, whole, rtol=0, atol=1e-5)
        return
    np.testing.assert_allclose(run(model(hparams, p, threads=1), tokens), whole, rtol=0, atol=1e-6)
    for first in (1022, 1023):
        cache = ours.new_cache()
        parts = [run(ours, tokens[:first], cache=cache)]
        parts += [run(ours, tokens[i : i + 1], cache=cache) for i in range(first, 1024)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-4)
    with pytest.raises(ContextError):
        run(ours, tokens[:1], cache=cache)
