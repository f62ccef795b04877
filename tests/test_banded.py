"""GPT-3's alternating dense and banded layers, beside an oracle, a mask and transformers."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import checkpoint, inspect
from pellucid.backend import get_backend
from pellucid.backend.strict import StrictBackend
from pellucid.blocks import BlockStore, Packed
from pellucid.checkpoint.capacity import needed
from pellucid.errors import InputError
from pellucid.families import SIZES, hparams_of
from pellucid.families.gpt3 import GPT3HParams
from pellucid.gpt import GPT, load
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.taps import axes
from pellucid.tokenizer import IdsOnly
from pellucid.weights import shapes
from support import oracle
from support.models import Reader, model, near, parameters, run
from support.program import invoke
from support.skips import BACKENDS, needs

SMALL = GPT3HParams(n_vocab=31, n_ctx=200, n_embd=12, n_head=2, n_layer=4, band=9)
DENSE = HParams(n_vocab=31, n_ctx=200, n_embd=12, n_head=2, n_layer=4)
P = parameters(SMALL, 3)
TOKENS = np.random.default_rng(0).integers(0, 31, 190)  # more than numpy's block of queries


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=15)
@given(n=st.integers(1, 9), band=st.integers(1, 10), seed=st.integers(0, 99))
def test_every_value_equals_the_oracles(backend, n, band, seed):
    hparams = GPT3HParams(n_vocab=7, n_ctx=9, n_embd=6, n_head=2, n_layer=3, band=band)
    p = parameters(hparams, seed)
    tokens = np.random.default_rng(seed).integers(0, 7, n).tolist()
    expected = oracle.forward(tokens, p, 2, 3, band)
    m = model(hparams, p, backend, "float64")
    atol = near(backend, 1e-10, *expected.values())
    np.testing.assert_allclose(run(m, tokens), expected["logits"], rtol=0, atol=atol)
    reader = Reader(m)
    run(m, tokens, tap=reader)
    for name, value in reader.seen.items():
        np.testing.assert_allclose(value[0], expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def dense():
    """The logits of a GPT-2 of the same weights, with a mask put over its scores by a tap."""
    m = model(DENSE, P, dtype="float64")
    query, key = np.indices((190, 190))

    def hides(name, value):
        if name in ("blocks.1.attn.scores", "blocks.3.attn.scores"):
            return np.where(query - key < 9, value, -np.inf)
        return value

    masked = run(m, TOKENS, tap=hides)
    assert np.abs(masked - run(m, TOKENS)).max() > 0.1
    return masked


@pytest.mark.parametrize("backend", BACKENDS)
def test_banded_equals_dense_with_a_mask(dense, backend):
    """Whole, with the explicit path, one token after the other, and in pieces from a cache."""
    m = model(SMALL, P, backend, "float64")
    atol = near(backend, 1e-10, dense)
    np.testing.assert_allclose(run(m, TOKENS), dense, rtol=0, atol=atol)
    np.testing.assert_allclose(run(m, TOKENS, tap=Reader(m)), dense, rtol=0, atol=atol)
    for cuts in (range(0, 191), (0, 150, 151, 153, 190), (0, 1, 140, 190)):
        cache, parts = m.new_cache(), []
        for begin, end in pairwise(cuts):
            parts.append(run(m, TOKENS[begin:end], cache=cache))
        np.testing.assert_allclose(np.concatenate(parts), dense, rtol=0, atol=atol)
    last = run(m, TOKENS, last_only=True)
    np.testing.assert_allclose(last[-1], dense[-1], rtol=0, atol=atol)


@pytest.mark.parametrize("backend", [*BACKENDS, "strict"])
def test_several_texts_at_once(dense, backend):
    """Rows of different lengths in a batch, and in blocks, as a server computes them."""
    if backend == "strict":
        m = Model.of(SMALL, P, StrictBackend(get_backend("numpy", dtype="float64")))
    else:
        m = model(SMALL, P, backend, "float64")
    atol = near(backend, 1e-10, dense)
    cache, lengths = m.new_cache(3), np.array([150, 4, 30])
    rows = np.stack([np.where(np.arange(150) < n, TOKENS[:150], 0) for n in lengths])
    first = run(m, rows, cache=cache, lengths=lengths)
    after = run(m, TOKENS[lengths][:, None], cache=cache)
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(first[row, :n], dense[:n], rtol=0, atol=atol)
        np.testing.assert_allclose(after[row, 0], dense[n], rtol=0, atol=atol)

    store = BlockStore(SMALL, m.backend, n_blocks=30, block_size=8)
    blocks = [[3, 9, 4, *range(10, 28)], [1, 0]]  # of each text, as they came
    for past, new in (([0, 0], [150, 3]), ([150, 3], [1, 4]), ([151, 7], [1, 1])):
        texts = list(zip(blocks, past, new, strict=True))
        ids = np.concatenate([TOKENS[p : p + n] for p, n in zip(past, new, strict=True)])
        got = run(m, ids[None], cache=Packed(store, texts))[0]
        expected = [dense[p : p + n] for p, n in zip(past, new, strict=True)]
        np.testing.assert_allclose(got, np.concatenate(expected), rtol=0, atol=atol)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hparams", [SMALL, DENSE], ids=["banded", "dense"])
def test_a_token_alone_has_the_values_that_it_has_in_its_text(backend, hparams):
    """Where it sees every key, nothing is masked; beyond a band, and in rows of different lengths,
    something is."""
    m = model(hparams, P, backend, "float64")
    whole, step = Reader(m), Reader(m)
    run(m, TOKENS[:20], tap=whole)
    for begin in ([6], [11], [6, 6], [15, 11]):
        at = np.array(begin)
        cache = m.new_cache(len(at))
        first = np.stack([np.where(np.arange(max(at)) < n, TOKENS[: max(at)], 0) for n in at])
        run(m, first, cache=cache, lengths=at)
        for places in (at, at + 1):
            run(m, TOKENS[places][:, None], cache=cache, tap=step)
            for name, value in step.seen.items():
                own = axes(name, hparams)[1:]
                axis = own.index("query" if "query" in own else "position")
                for row, n in enumerate(places):
                    got = value[min(row, len(value) - 1)].take(0, axis)
                    expected = whole.seen[name][0].take(n, axis)
                    if "key" in own:
                        got, expected = got[..., : n + 1], expected[..., : n + 1]
                    atol = near(backend, 1e-10, np.where(np.isfinite(expected), expected, 0))
                    np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_alone_whose_scores_are_replaced(backend):
    """What a tap writes into the scores is not in qk, and is what softmax sees."""
    m = model(DENSE, P, backend, "float64")
    cache, seen = m.new_cache(), {}
    run(m, TOKENS[:5], cache=cache)

    def writes(name, value):
        seen[name] = value
        if name == "blocks.1.attn.scores":
            value[..., 2] = -np.inf
        return value

    run(m, TOKENS[5:6], cache=cache, tap=writes)
    qk, pattern = (m.backend.to_numpy(seen[f"blocks.1.attn.{each}"]) for each in ("qk", "pattern"))
    assert np.isfinite(qk).all()
    assert not pattern[..., 2].any()
    assert pattern[..., [0, 1, 3, 4, 5]].all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hparams", [SMALL, DENSE], ids=["banded", "dense"])
def test_the_last_logits_alone_after_texts_of_different_lengths(backend, hparams):
    m = model(hparams, P, backend, "float64")
    cache, lengths = m.new_cache(2), np.array([20, 3])
    rows = np.stack([np.where(np.arange(20) < n, TOKENS[:20], 0) for n in lengths])
    run(m, rows, cache=cache, lengths=lengths)
    more = np.stack([TOKENS[n : n + 15] for n in lengths])
    got = run(m, more, cache=cache, last_only=True)
    for row, n in enumerate(lengths):
        alone = run(m, TOKENS[: n + 15])[-1]
        np.testing.assert_allclose(got[row, 0], alone, rtol=0, atol=near(backend, 1e-10, alone))


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_equal_transformers_gpt_neo(backend):
    """GPT-Neo is the open model of this kind. It does not divide by √d_k and has no biases on
    queries, keys and values."""
    torch, transformers = needs("torch"), needs("transformers")
    config = transformers.GPTNeoConfig(
        vocab_size=31, max_position_embeddings=64, hidden_size=12, num_heads=2, num_layers=4,
        attention_types=[[["global", "local"], 2]], window_size=9, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.GPTNeoForCausalLM(config).eval()
    hparams = GPT3HParams(n_vocab=31, n_ctx=64, n_embd=12, n_head=2, n_layer=4, band=9)
    p = {name: value.astype(np.float32) for name, value in parameters(hparams).items()}
    state = {}
    for name, value in p.items():
        if name.endswith("attn.c_attn.bias"):
            value[:] = 0
        elif name.endswith("attn.c_attn.weight"):
            at = f"transformer.{name.replace('attn.c_attn', 'attn.attention.{}')}"
            for part, half in zip(
                ("q_proj", "k_proj", "v_proj"), np.split(value, 3, 1), strict=True
            ):
                scale = 1 / math.sqrt(hparams.d_k) if part == "q_proj" else 1.0
                state[at.format(part)] = torch.tensor(half.T * scale)
        else:
            name = name.replace("attn.c_proj", "attn.attention.out_proj")
            turned = value.T if ".mlp." in name or "out_proj" in name else value
            state[f"transformer.{name}"] = torch.tensor(turned)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    theirs.load_state_dict(state)
    m = model(hparams, p, backend)
    for n in (3, 9, 10, 64):
        with torch.no_grad():
            expected = theirs(torch.tensor(TOKENS[None, :n])).logits[0].numpy()
        got = run(m, TOKENS[:n])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
        assert (got.argmax(-1) == expected.argmax(-1)).all()


def test_training_sees_the_same_band():
    """The gradient reaches what the band shows and nothing else, in bfloat16's own path too."""
    torch = needs("torch")
    from pellucid.backend.torch import TorchBackend

    q, k, v = torch.tensor(np.random.default_rng(1).standard_normal((3, 1, 2, 12, 4))).float()
    query, key = np.indices((12, 12))
    seen = torch.tensor((key <= query) & (query - key < 5))
    scores = (q @ k.swapaxes(2, 3) / 2).masked_fill(~seen, -math.inf)
    expected = torch.softmax(scores, -1) @ v
    for dtype, atol in ((torch.float32, 1e-6), (torch.bfloat16, 0.03)):
        backend = TorchBackend(training=True)
        values = v.to(dtype).clone().requires_grad_()
        got = backend.attend(q.to(dtype), k.to(dtype), values, None, 1, None, 5)
        torch.testing.assert_close(got.float(), expected, rtol=0, atol=atol)
        got[0, 0, 8].sum().backward()
        reached = values.grad[0, 0].abs().sum(-1) > 0
        assert reached.tolist() == [4 <= i <= 8 for i in range(12)]


def test_it_is_kept_in_our_own_format_alone(tmp_path):
    weights = {name: value.astype("f4") for name, value in P.items()}
    checkpoint.save(tmp_path / "own", SMALL, weights)
    assert checkpoint.load(tmp_path / "own").hparams == SMALL
    m = load(tmp_path / "own").model
    assert run(m, TOKENS[:20])[-1].argmax() == run(model(SMALL, P), TOKENS[:20])[-1].argmax()
    for format in ("hf", "gguf"):
        with pytest.raises(InputError, match="GPT-3 is written in the format pellucid alone"):
            checkpoint.save(tmp_path / "other", SMALL, weights, format=format)


def test_patterns_and_the_walk_show_the_band():
    gpt = GPT(model(SMALL, P, dtype="float64"), IdsOnly(31, "banded"))
    ids = TOKENS[:40].tolist()
    patterns = inspect.attention(gpt, ids)
    reader = Reader(gpt.model)
    run(gpt.model, ids, tap=reader)
    query, key = np.indices((40, 40))
    for layer in range(4):
        seen = (key <= query) & ((query - key < 9) | (layer % 2 == 0))
        pattern = patterns.pattern[layer]
        assert ((pattern > 0) == seen).all()
        np.testing.assert_allclose(pattern, reader.seen[f"blocks.{layer}.attn.pattern"][0])


def test_hyperparameters_and_sizes():
    assert hparams_of(SMALL.to_dict()) == SMALL
    assert SMALL.to_dict()["family"] == "gpt3"
    assert [SMALL.reach(layer) for layer in range(4)] == [None, 9, None, 9]
    for wrong in (0, -1, 1.5, True, 2**21):
        with pytest.raises(InputError, match="band must be"):
            GPT3HParams(31, 8, 12, 2, 2, wrong)
    # What Table 2.1 of the paper says they have, in millions.
    stated = {"small": 125, "medium": 350, "large": 760, "xl": 1300, "2.7b": 2700, "6.7b": 6700,
              "13b": 13000, "175b": 175000}  # fmt: skip
    named = {name: size for name, size in SIZES.items() if name.startswith("gpt3-")}
    assert [name.removeprefix("gpt3-") for name in named] == list(stated)
    for name, millions in stated.items():
        assert named[f"gpt3-{name}"].n_params / 1e6 == pytest.approx(millions, rel=0.02)
        assert named[f"gpt3-{name}"].n_ctx == 2048


def test_what_it_takes_is_said_before_anything_is_allocated(tmp_path):
    (tmp_path / "text.txt").write_text("a b c")
    train = ("train", tmp_path / "text.txt", "--out", tmp_path / "run", "--size", "gpt3-175b")
    unknown = invoke(*train[:-1], "gpt4")
    assert "there is no size 'gpt4'; there are gpt2, " in str(unknown.exception)
    told = invoke(*train, "--dry-run", "--n-ctx", 128).stdout
    assert "band = 256" in told
    assert "n_ctx = 128" in told
    # Weights, gradients and two moments in float32, 16 bytes a parameter, are most of it.
    assert float(re.search(r"about ([\d,]+)", told)[1].replace(",", "")) > 16 * 174e9 / 2**30
    assert "more than the" in told
    needs("torch")
    refused = invoke(*train)
    assert "GiB of memory and" in str(refused.exception)
    assert "--size is for fresh weights of a GPT" in invoke(*train, "--start", "talk").output


def test_bytes_are_those_that_the_kernels_keep():
    kernels = needs("pellucid_native")
    hparams = GPT3HParams(n_vocab=640, n_ctx=64, n_embd=128, n_head=2, n_layer=2, band=9)
    formats = {"float32": (0, 0), "bfloat16": (1, 1), "int8": (2, 2), "int4": (3, 2)}
    for kind, (format, table) in formats.items():
        tree = shapes(hparams)
        linear = [s for name, s in tree.items() if len(s) == 2 and not name.startswith("w")]
        n_bytes = sum(a + 2 * b for a, b in (kernels.sizes(format, *shape) for shape in linear))
        n_bytes += sum(kernels.sizes(table, 128, 640)) + kernels.sizes(table, 128, 640)[1]
        m = Model.of(hparams, parameters(hparams), get_backend("native", dtype=kind))
        cache = m.new_cache()
        n_bytes += sum(x.nbytes for x in (*cache.keys, *cache.values))
        # What stays as it is, the positions' table, biases and norms, are counted as if packed.
        assert needed(hparams, kind) == pytest.approx(n_bytes, rel=0.04)
