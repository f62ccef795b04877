"""The compiled backend's operations beside numpy: every processor's kernels that can run here,
over shapes, lengths, groups, places in memory, and numbers of rows at which they change way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pellucid import checkpoint, load
from pellucid.backend import Place, Segment, get_backend
from pellucid.backend.numpy import NumpyBackend
from pellucid.backend.rounded import RoundedBackend
from pellucid.blocks import BlockStore, Packed
from pellucid.errors import CheckpointError, InputError, TokenizerError
from pellucid.families.gpt3 import GPT3HParams
from pellucid.families.llama import LlamaHParams
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.tokenizer import Tokenizer
from pellucid.weights import Affine, Embedding, initialise
from support.models import Reader, lively, lively_gpt, run
from support.program import invoke, python
from support.skips import needs

kernels = needs("pellucid_native")
DTYPES = ("float32", "bfloat16", "int8", "int4")
KEYS = ("float32", "float16", "int8")
ROWS = (1, 2, 3, 4, 7, 8, 23, 64, 512)
# Of the largest number of a group, what rounding may take: half a step of the weights; where 4 bits
# hold -8 and only 7, more where the least error of all wants it..
STEP = {"float32": 0.0, "bfloat16": 2**-8, "int8": 0.51 / 127, "int4": 1.5 / 8}
# Of a product, to the numbers that the weights stand for: what the rows lose.
LOSS = {"float32": 2e-6, "bfloat16": 4e-3, "int8": 6e-3, "int4": 8e-3}
EXACT = NumpyBackend("float64")


@pytest.fixture(params=range(len(("AVX-512 BF16", "AVX-512", "AVX2 or NEON", "portable"))))
def processor(request):
    """Each of the kernels that run here, the best first; where there are fewer, the last again."""
    names, before = kernels.kernels(), kernels.chosen()
    kernels.choose(names[min(request.param, len(names) - 1)])
    yield kernels.chosen()
    kernels.choose(before)


def at_odd_places(array: np.ndarray) -> np.ndarray:
    """The same numbers, 4 bytes behind a multiple of 64."""
    room = np.empty(array.size + 32, np.float32)
    begin = (-room.ctypes.data // 4) % 16 + 1
    placed = room[begin : begin + array.size].reshape(array.shape)
    placed[...] = array
    return placed


def case(seed: int, m: int, n_in: int, n_out: int):
    rng = np.random.default_rng(seed)
    x = at_odd_places(rng.standard_normal((m, n_in)))
    weight = rng.standard_normal((n_in, n_out)).astype(np.float32) * rng.uniform(0.01, 3)
    return rng, x, weight, rng.standard_normal(n_out).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40)
@given(
    m=st.sampled_from(ROWS),
    n_in=st.integers(1, 200),
    n_out=st.integers(1, 70),
    parts=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    threads=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 999),
)
@example(m=512, n_in=768, n_out=50, parts=(True, True, True), threads=2, seed=0)
@example(m=1, n_in=3072, n_out=33, parts=(False, False, False), threads=2, seed=0)
def test_products(dtype, m, n_in, n_out, parts, threads, seed) -> None:
    """With norm, GELU and what is added, or without, by each processor's kernels."""
    rng, x, weight, bias = case(seed, m, n_in, n_out)
    normed, gelu, added = parts
    norm = None
    if normed:
        gain, shift = rng.standard_normal((2, n_in)).astype(np.float32)
        norm = (gain, shift, 1e-5)
    add = rng.standard_normal((m, n_out)).astype(np.float32) if added else None
    machine = get_backend("native", dtype=dtype, threads=threads)
    before = kernels.chosen()
    try:
        for name in kernels.kernels():
            kernels.choose(name)
            w = machine.prepare(Affine(weight, bias))
            numbers = machine.dense(w)
            near(numbers, weight, STEP[dtype], np.abs(weight).max())
            exact = Affine(numbers.astype(np.float64), bias.astype(np.float64))
            wide = x.astype(np.float64)
            rows = wide if norm is None else EXACT.layer_norm(wide, *norm)
            linear = EXACT.linear(wide, exact, norm=norm)
            # What rounding the rows to a byte, a group at a time, can come to.
            size = np.abs(rows).max() * np.abs(numbers).max() * np.sqrt(n_in)
            got = machine.linear(x, w, norm=norm, gelu=gelu, add=add)
            expected = EXACT.gelu(linear) if gelu else linear
            expected = expected if add is None else expected + add
            near(got, expected, LOSS[dtype], size + np.abs(linear).max() + 1e-3)
    finally:
        kernels.choose(before)


def near(got: np.ndarray, expected: np.ndarray, share: float, size: float) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=share * size + 1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_half", [16, 144, 43])  # of 43 the halves meet within a panel
def test_gated_products(processor: str, dtype: str, n_half: int) -> None:
    """Put together some panels and rows at a time, as of the whole product."""
    for m, threads in ((1, 2), (5, 1), (200, 1), (200, 3)):
        _, x, weight, bias = case(m, m, 64, 2 * n_half)
        machine = get_backend("native", dtype=dtype, threads=threads)
        w = machine.prepare(Affine(weight, bias))
        gate, up = np.split(machine.linear(x, w), 2, axis=-1)
        expected = EXACT.swiglu(gate.astype(np.float64), up.astype(np.float64))
        got = machine.linear(x, w, swiglu=True)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 * np.abs(up).max())


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize(("n_in", "n_out"), [(64, 16), (768, 48), (100, 37)])
def test_rounding_is_the_plain_one(processor: str, dtype: str, n_in: int, n_out: int) -> None:
    """The same numbers as `backend.rounding` keeps, and of few rows the same bytes: products agree
    as nearly as float32 adds, but where a number lies between two bytes."""
    rng, x, weight, bias = case(5, 7, n_in, n_out)
    norm = (*rng.standard_normal((2, n_in)).astype(np.float32), 1e-5)
    machine, plain = get_backend("native", dtype=dtype, threads=1), RoundedBackend(dtype, "int8")
    affine = Affine(weight, bias)
    mine, its = machine.prepare(affine), plain.prepare(affine)
    np.testing.assert_allclose(machine.dense(mine), its.weight, rtol=1e-6)
    got = machine.linear(x, mine, norm=norm, gelu=True)
    expected = plain.linear(x, its, norm=norm, gelu=True)
    size = np.abs(expected).max()
    off = np.abs(got - expected) > 1e-5 * size
    assert off.any(1).sum() <= 2, "more than a row or two in which a byte fell otherwise"
    np.testing.assert_allclose(got, expected, rtol=0, atol=LOSS[dtype] * size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_table_is_read_both_ways(processor: str, dtype: str) -> None:
    """By ids, as embeddings, and as the output layer."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((131, 96)).astype(np.float32)
    machine = get_backend("native", dtype=dtype, threads=2)
    w = machine.prepare(Embedding(table))
    numbers = machine.dense(w)
    near(numbers, table, STEP["int8" if dtype == "int4" else dtype], np.abs(table).max())
    ids = rng.integers(0, 131, (3, 7))
    np.testing.assert_array_equal(machine.embedding(w, ids), numbers[ids])
    x = rng.standard_normal((2, 96)).astype(np.float32)
    near(machine.unembed(x, w), x @ numbers.T, LOSS[dtype], 96**0.5 * np.abs(x).max())
    with pytest.raises(ValueError, match="outside the table"):
        machine.embedding(w, np.array([131]))


def test_large_weights_lie_side_by_side() -> None:
    """In one room, and in the next where it ends: each at its place, none in another's."""
    machine, rng = get_backend("native", threads=1), np.random.default_rng(6)
    weights = [rng.standard_normal((n, 1000)).astype(np.float32) for n in (2000, 70, 3000, 5000)]
    packed = [machine.prepare(Affine(each, np.zeros(1000))) for each in weights]
    for weight, w in zip(weights, packed, strict=True):
        np.testing.assert_array_equal(machine.dense(w), weight)
        assert w.stored.data.ctypes.data % 64 == 0


def test_extremes(processor: str) -> None:
    """Rows and weights of zeros, numbers of very different sizes, and the largest of either sign:
    two products of -127 · 127 go beyond 16 bits, where a kernel holds no more."""
    for dtype in DTYPES:
        machine = get_backend("native", dtype=dtype, threads=1)
        for x, weight in (
            (np.zeros((2, 64)), np.ones((64, 16))),
            (np.ones((2, 64)), np.zeros((64, 16))),
            (np.full((5, 128), -1.0), np.full((128, 16), -1.0)),
            (np.full((5, 128), 1.0), np.full((128, 16), -1.0)),
            # In 4 bits: -8 once, then 7, kept as 15; the largest sums that 16 bits must hold.
            (np.ones((4, 64)), np.where(np.arange(64) % 32, 7.0, -8.0)[:, None] * np.ones(16)),
            (np.ones((1, 64)), np.geomspace(1e-6, 1.0, 16) * np.ones((64, 1))),
        ):
            w = machine.prepare(Affine(weight, np.zeros(16)))
            expected = x @ weight
            got = machine.linear(x.astype(np.float32), w)
            np.testing.assert_allclose(got, expected, rtol=0.02 if dtype != "int4" else 0.1)


def test_gelu_softmax_and_norm(processor: str) -> None:
    rng = np.random.default_rng(1)
    machine = get_backend("native", threads=2)
    for n in (1, 15, 16, 17, 1000):
        x = rng.standard_normal((5, n)).astype(np.float32) * 4
        wide = x.astype(np.float64)
        np.testing.assert_allclose(machine.gelu(x), EXACT.gelu(wide), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(machine.softmax(x), EXACT.softmax(wide), rtol=2e-6, atol=1e-7)
        gain, shift = rng.standard_normal((2, n)).astype(np.float32)
        got = machine.layer_norm(x, gain, shift, 1e-5)
        np.testing.assert_allclose(got, EXACT.layer_norm(wide, gain, shift, 1e-5), atol=3e-5)
    ends = np.array([-200.0, -88.0, 0.0, 88.0, 200.0, np.inf], np.float32)
    np.testing.assert_allclose(machine.gelu(ends), [0, 0, 0, 88, 200, np.inf], atol=1e-30)
    hidden = np.array([[1.0, -np.inf, 2.0]], np.float32)
    np.testing.assert_allclose(machine.softmax(hidden), EXACT.softmax(hidden), atol=1e-6)
    assert machine.softmax(hidden)[0, 1] == 0


@pytest.mark.parametrize("m", [1, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_products_of_heads(processor: str, dtype: type, m: int) -> None:
    """With what lies in a cache, as it is and turned, in every length of a row's rest; what the
    kernels do not read goes by numpy."""
    rng = np.random.default_rng(4)
    machine = get_backend("native", dtype="int8", threads=2)
    for n, n_out in ((1, 1), (15, 64), (16, 33), (64, 150), (80, 7), (70, 130)):
        x = rng.standard_normal((1, m, 3, n)).astype(np.float32).swapaxes(1, 2)
        room = rng.standard_normal((1, 3, n + 9, n_out)).astype(dtype)
        turned = (
            rng.standard_normal((1, 3, n_out + 9, n)).astype(dtype)[:, :, :n_out].swapaxes(2, 3)
        )
        for y in (room[:, :, :n], turned, room[:, :, :n].astype(np.float64), room[:, :, :n, ::2]):
            got = machine.matmul(x, y)
            near(got, x.astype(np.float64) @ y.astype(np.float64), 1e-6, 4.0 * n**0.5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 3, 13])
@pytest.mark.parametrize("n", [16, 24, 32, 64, 96])
@pytest.mark.parametrize("heads", [3, 4])  # in groups of two, and a group that one has alone
def test_each_head_by_its_rows_of_a_weight(
    processor: str, dtype: str, m: int, n: int, heads: int
) -> None:
    rng = np.random.default_rng(5)
    machine = get_backend("native", dtype=dtype, threads=2)
    w = machine.prepare(Affine(rng.standard_normal((heads * n, 50)), np.zeros(50)))
    x = rng.standard_normal((2, m, heads, n)).astype(np.float32).swapaxes(1, 2)
    rows = machine.dense(w).astype(np.float64).reshape(heads, n, 50)
    near(machine.matmul(x, w), x.astype(np.float64) @ rows, LOSS[dtype], 16.0 * n**0.5)


@settings(max_examples=40)
@given(
    d_k=st.sampled_from([1, 4, 15, 16, 24, 48, 64, 80, 128]),
    n_head=st.integers(1, 4),
    lengths=st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from([1, 2, 3, 4, 5, 13, 96, 97, 200])),
        min_size=1,
        max_size=3,
    ),
    block=st.sampled_from([1, 7, 16, 64]),
    kind=st.sampled_from(KEYS),
    seed=st.integers(0, 999),
)
def test_attention_over_blocks(d_k, n_head, lengths, block, kind, seed) -> None:
    """Texts of different lengths, side by side in one row, their keys and values in blocks that lie
    anywhere; with smaller keys as exactly as these go, for what is kept is what numpy keeps."""
    rng = np.random.default_rng(seed)
    hparams = HParams(5, 600, n_head * d_k, n_head, 1)
    machine = get_backend("native", keys=kind, threads=2)
    needed = [-(-(past + n) // block) for past, n in lengths]
    places = rng.permutation(sum(needed) + 3)
    stores = [
        BlockStore(hparams, each, n_blocks=len(places), block_size=block)
        for each in (machine, EXACT)
    ]
    for mine, exact in zip(
        (*stores[0].keys, *stores[0].values), (*stores[1].keys, *stores[1].values), strict=True
    ):
        mine[...] = machine.to_cache(rng.standard_normal(exact.shape))
        exact[...] = machine.from_cache(mine)
    texts, begin = [], 0
    for (past, n), count in zip(lengths, needed, strict=True):
        texts.append((places[begin : begin + count].tolist(), past, n))
        begin += count
    n_new = sum(n for _, n in lengths)
    qkv = rng.standard_normal((1, n_new, 3, n_head, d_k)).astype(np.float32)
    q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))
    exact_k, exact_v = k, v
    if kind == "int8":
        exact_k, exact_v = (machine.from_cache(machine.to_cache(each)) for each in (k, v))
    expected = EXACT.attend(
        *(each.astype(np.float64) for each in (q, exact_k, exact_v)), Packed(stores[1], texts), 0
    )
    before = kernels.chosen()
    try:
        for name in kernels.kernels():
            kernels.choose(name)
            got = machine.attend(q, k, v, Packed(stores[0], texts), 0)
            pairs = kind != "float32" and "BF16" in name
            atol = 3e-2 if pairs else 5e-3 if kind == "float16" else 1e-5
            np.testing.assert_allclose(got, expected, rtol=0, atol=atol)
            for mine, exact in zip(stores[0].keys, stores[1].keys, strict=True):
                numbers = machine.from_cache(mine)
                np.testing.assert_allclose(numbers, exact, rtol=1e-3, atol=1e-7)
    finally:
        kernels.choose(before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cached_is_whole_and_watched_is_plain(processor: str, dtype: str) -> None:
    """A pass in chunks, ragged or with a tap on every value, within what the rows may lose."""
    hparams = HParams(80, 96, 64, 4, 2)
    m = Model.of(hparams, initialise(hparams, 1), get_backend("native", dtype=dtype, threads=2))
    tokens = np.random.default_rng(2).integers(0, 80, (2, 96))
    whole = run(m, tokens)
    same = Model.of(hparams, m.tensors(), EXACT)
    atol = LOSS[dtype] * 4 * np.abs(whole).max()
    np.testing.assert_allclose(whole, run(same, tokens), rtol=0, atol=atol)
    cache = m.new_cache(2)
    parts = [run(m, tokens[:, a:b], cache=cache) for a, b in ((0, 40), (40, 41), (41, 96))]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=0, atol=atol)
    np.testing.assert_allclose(run(m, tokens, tap=Reader(m)), whole, rtol=0, atol=atol)
    twice = run(m, tokens)
    np.testing.assert_array_equal(twice, whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_some_tokens_in_one_pass_are_as_one_by_one(processor: str, dtype: str) -> None:
    """What speculation stands on: as many as the backend says, to the bit; in float32, of which
    nothing makes more, but for the last bits."""
    hparams = HParams(80, 96, 128, 2, 2)
    m = Model.of(hparams, initialise(hparams, 1), get_backend("native", dtype=dtype, threads=2))
    tokens = np.random.default_rng(3).integers(0, 80, (1, 60 + m.backend.alike))
    cache = m.new_cache(1)
    run(m, tokens[:, :60], cache=cache)
    apart = cache.fork()
    together = run(m, tokens[:, 60:], cache=cache)
    for i, token in enumerate(tokens[:, 60:].T):
        alone = run(m, token[None], cache=apart)[:, 0]
        atol = 1e-5 * np.abs(alone).max() if dtype == "float32" else 0
        np.testing.assert_allclose(together[:, i], alone, rtol=0, atol=atol)


SMALL = {"n_vocab": 80, "n_ctx": 96, "n_embd": 64, "n_head": 4, "n_layer": 2}
BYTES_IN = {
    "gpt2": HParams(**SMALL),
    "banded": GPT3HParams(**SMALL, band=9),  # numpy attends to a band
    "grouped": LlamaHParams(**SMALL, n_kv_head=2, d_head=18, n_inner=80),
}


@pytest.mark.parametrize("family", BYTES_IN)
def test_keys_in_bytes(processor: str, family: str) -> None:
    """Near the pass with exact keys, and the same by a cache, ragged, forked or rewound, by blocks
    that lie anywhere, and with a tap on every value."""
    h = BYTES_IN[family]
    m = Model.of(h, lively(h), get_backend("native", keys="int8", threads=2))
    tokens = np.random.default_rng(5).integers(0, 80, (2, 40))
    whole, exact = run(m, tokens), run(Model.of(h, lively(h), EXACT), tokens)
    atol = 0.02 * np.abs(exact).max()

    def same(got: np.ndarray, expected: np.ndarray) -> None:
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol)

    same(whole, exact)
    assert np.abs(whole - exact).max() > 1e-4  # bytes were kept
    for taps in ({}, {"tap": Reader(m)}):
        cache = m.new_cache(2)
        for low, high in ((0, 20), (20, 21), (21, 40)):
            same(run(m, tokens[:, low:high], cache=cache, **taps), whole[:, low:high])
        assert cache.n_bytes == 2 * 40 * h.n_layer * h.n_kv_head * 2 * (h.d_k + 4)
        twin = cache.fork()
        twin.rewind(20)
        same(run(m, tokens[:, 20:], cache=twin, **taps), whole[:, 20:])
        cache.rewind(39)
        cache.follow([1, 0, 1])
        same(run(m, tokens[[1, 0, 1], 39:], cache=cache, **taps), whole[[1, 0, 1], 39:])
        ragged = m.new_cache(2)
        run(m, tokens[:, :20], cache=ragged, lengths=[20, 12], **taps)
        next_ones = run(m, tokens[[0, 1], [20, 12]][:, None], cache=ragged, **taps)
        same(next_ones[:, 0], whole[[0, 1], [20, 12]])
        store = BlockStore(h, m.backend, n_blocks=9, block_size=8)
        each = BlockStore.bytes_per_block(h, m.backend, 8)
        assert sum(kept.nbytes for kept in (*store.keys, *store.values)) == 9 * each
        for past, n in ((0, 24), (24, 1), (25, 15)):
            paged = Packed(store, [([7, 2, 3, 0, 5], past, n)])
            got = run(m, tokens[:1, past : past + n], cache=paged, **taps)
            same(got[0], whole[0, past : past + n])


def test_keys_in_bytes_from_the_command_line() -> None:
    asked = ("generate", "The cat", "--greedy", "--max-tokens", 4)
    expected = load(backend="native", keys="int8").generate("The cat", greedy=True, max_tokens=4)
    assert invoke(*asked, "--keys", "int8").stdout.strip() == f"The cat{expected.text}".strip()
    refused = invoke(*asked, "--keys", "int8", "--backend", "numpy").exception
    assert "for the native backend" in str(refused)


def test_numbers_do_not_hang_on_threads(processor: str) -> None:
    """Threads divide columns and heads, never a sum."""
    hparams = HParams(300, 64, 192, 4, 2)
    tokens = np.random.default_rng(3).integers(0, 300, 64)
    for dtype in DTYPES:
        one, three = (
            Model.of(hparams, initialise(hparams, 1), get_backend("native", dtype=dtype, threads=n))
            for n in (1, 3)
        )
        np.testing.assert_array_equal(run(three, tokens), run(one, tokens))


def test_two_threads_of_python_at_once() -> None:
    """They share one pool; who finds it taken computes alone."""
    hparams = HParams(300, 64, 192, 4, 2)
    m = Model.of(hparams, initialise(hparams, 1), get_backend("native", dtype="int8", threads=2))
    tokens = np.random.default_rng(4).integers(0, 300, (4, 64))
    expected = [run(m, each) for each in tokens]
    got: dict[int, list[np.ndarray]] = {}

    def work(i: int) -> None:
        got[i] = [run(m, tokens[i]) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, each in enumerate(expected):
        for logits in got[i]:
            np.testing.assert_array_equal(logits, each)


FORKED = """
import os, sys
from pellucid.backend import get_backend
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise
hparams = HParams(300, 64, 192, 4, 2)
machine = get_backend("native", dtype="int8", threads=3)
model, ids = Model.of(hparams, initialise(hparams, 1), machine), list(range(64))
expected = model.forward(ids)
child = os.fork()
same = all((model.forward(ids) == expected).all() for _ in range(5))
if not child:
    sys.exit(not same)
sys.exit(os.waitpid(child, 0)[1] or not same)
"""


def test_a_forked_process_has_threads_of_its_own() -> None:
    needs("POSIX")
    python(FORKED, check=True)


def test_what_does_not_fit_is_refused() -> None:
    machine = get_backend("native", threads=1)
    w = machine.prepare(Affine(np.ones((8, 4)), np.zeros(4)))
    rows, out = np.ones((2, 7), np.float32), np.empty((2, 4), np.float32)
    rest = (None, None, None, 0.0, False, None)
    with pytest.raises(ValueError, match="x has 14 numbers"):
        kernels.linear(1, w.handle, rows, out, *rest)
    with pytest.raises(ValueError, match="kind of number"):
        kernels.linear(1, w.handle, rows.astype(np.float64), out, *rest)
    with pytest.raises(ValueError, match="no such kernels"):
        kernels.choose("Z80")
    q = np.ones((1, 2, 1, 4), np.float32)
    with pytest.raises(ValueError, match="do not fit together"):
        kernels.matmul(1, q, np.ones((1, 2, 3, 5), np.float32), np.empty((1, 2, 1, 5), np.float32))
    with pytest.raises(ValueError, match="out has 8 numbers"):
        kernels.matmul(1, q, np.ones((1, 2, 4, 5), np.float32), np.empty((1, 2, 1, 4), np.float32))
    short, apart = np.zeros((2, 2, 4), np.float32), np.zeros((2, 4, 4), np.float32)[:, ::2]
    for bad in (
        [Segment(1, 0, 1, [Place.whole(short, short)])],
        [Segment(0, 0, 2, [Place.whole(short, short)])],
        [Segment(0, 0, 1, [Place.whole(short[:1], short)])],
        [Segment(0, 0, 1, [Place.whole(apart, apart)])],
        [Segment(0, 0, 1, [Place(short, short, 0, 3)])],
        [Segment(0, 0, 1, [Place(short, short, -1, 1)])],
        [Segment(0, 0, 1, [Place(short, short, 2, 2)])],
        [Segment(0, 0, 1, [])],
    ):
        with pytest.raises(ValueError, match=r"text|place|room"):
            kernels.attend(1, q, q, q, np.empty_like(q), bad)
    with pytest.raises(InputError, match="float32, bfloat16, int8, int4"):
        get_backend("native", dtype="float64")
    with pytest.raises(InputError, match="backend torch"):
        get_backend("native", device="cuda")
    with pytest.raises(InputError, match="float32, float16, int8, not 'int9'"):
        get_backend(keys="int9")
    with pytest.raises(InputError, match=r"numpy backend .* int8 are for the native backend"):
        get_backend("numpy", keys="int8")
    bytes_short = np.zeros((2, 2, 7), np.uint8)  # without room for the scales
    with pytest.raises(ValueError, match="of bytes d_k \\+ 4"):
        kernels.attend(
            1,
            q,
            q,
            q,
            np.empty_like(q),
            [Segment(0, 0, 1, [Place.whole(bytes_short, bytes_short)])],
        )


# Where a model of each format lies in a folder of its own.
KEPT = {"pellucid": "", "hf": "", "gguf": "model.gguf"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A small model in three formats; its packed weights are kept, as a large one's would be."""
    tokenizer = lively_gpt()[0].tokenizer
    hparams = HParams(tokenizer.n_vocab, 16, 64, 4, 2)
    folder = tmp_path_factory.mktemp("packed")
    for kind, name in KEPT.items():
        (folder / kind).mkdir()
        checkpoint.save(
            folder / kind / name,
            hparams,
            initialise(hparams, 1),
            tokenizer,
            format=kind,
            card={"about": "é"},
            template="plain",
            roles=checkpoint.Roles(bos=3, eos=(4, 5)),
        )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pellucid.checkpoint.packed.SMALL", 0)
        yield folder


@pytest.mark.parametrize("kind", KEPT)
def test_packed_weights_are_kept_and_taken(checkpoints: Path, kind: str, monkeypatch) -> None:
    folder, told = checkpoints / kind, []
    first = load(folder / KEPT[kind], backend="native", dtype="int8", on_kept=told.append)
    (kept,) = folder.glob("*.packed")
    assert told == [kept]
    assert kept.name.startswith(f"{KEPT[kind]}.pellucid-int8-" if KEPT[kind] else "pellucid-int8-")
    content = kept.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("pellucid.keeping.load", None)  # the checkpoint's tensors are not read
        again = load(folder, backend="native", dtype="int8", on_kept=told.append)
    assert told == [kept]  # nothing was written
    assert again.hparams == first.hparams
    assert (again.card, again.template, again.roles) == (first.card, first.template, first.roles)
    assert again.encode("the cat") == first.encode("the cat")
    np.testing.assert_array_equal(again.logits("the cat"), first.logits("the cat"))
    for name, values in first.model.tensors().items():
        np.testing.assert_array_equal(again.model.tensors()[name], values, err_msg=name)
    load(folder, backend="numpy")  # it is in nobody's way
    # What is not whole is made anew; so is what belongs to other files, and the older one goes.
    kept.write_bytes(content[:-100])
    load(folder, backend="native", dtype="int8")
    assert kept.read_bytes() == content
    os.utime(folder / (KEPT[kind] or "model.safetensors"), ns=(1, 1))
    load(folder, backend="native", dtype="int8")
    (newer,) = folder.glob("*.packed")
    assert newer != kept
    load(folder, backend="native", dtype="int4")
    assert len(list(folder.glob("*.packed"))) == 2


def test_a_kept_model_reads_its_tokenizer_when_a_text_comes(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints / "hf", folder, ignore=shutil.ignore_patterns("*.packed"))
    first = load(folder, backend="native", dtype="int8")
    ids = first.encode("the cat")
    kept, other, broken = (load(folder, backend="native", dtype="int8") for _ in range(3))
    assert len(kept.generate(ids, max_tokens=2, alternatives=0, stop_tokens=()).tokens) >= len(ids)
    got: list[list[int]] = []
    threads = [threading.Thread(target=lambda: got.append(kept.encode("the cat"))) for _ in "1234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [ids] * 4
    assert kept.tokenizer.fingerprint() == first.tokenizer.fingerprint()
    assert type(kept.tokenizer) is Tokenizer
    assert not hasattr(kept.tokenizer, "nothing")
    # Files that changed since the model was loaded: another tokenizer, and none.
    vocab = folder / "vocab.json"
    table = json.loads(vocab.read_text("utf-8"))
    vocab.write_text(json.dumps(table | {"zebra": len(table)}), "utf-8")
    with pytest.raises(TokenizerError, match="load it anew"):
        other.encode("the cat")
    vocab.unlink()
    with pytest.raises(TokenizerError, match="no tokenizer"):
        broken.encode("the cat")


def test_of_two_ggufs_in_a_folder_each_keeps_its_own(checkpoints: Path, tmp_path: Path) -> None:
    """And a newer one of the first leaves the other's alone."""
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(checkpoints / "gguf" / "model.gguf", tmp_path / name)
        load(tmp_path / name, backend="native", dtype="int8")
    os.utime(tmp_path / "a.gguf", ns=(1, 1))
    load(tmp_path / "a.gguf", backend="native", dtype="int8")
    kept = sorted(path.name.split(".pellucid")[0] for path in tmp_path.glob("*.packed"))
    assert kept == ["a.gguf", "b.gguf"]
    (tmp_path / "b.gguf").unlink()  # its own file is asked for its tokenizer, and is gone
    with pytest.raises(CheckpointError):
        load(tmp_path / "b.gguf", backend="native", dtype="int8")


def test_what_pip_installed_is_left_as_it_is(checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site-packages" / "some_model"
    folder.mkdir(parents=True)
    shutil.copy(checkpoints / "gguf" / "model.gguf", folder)
    load(folder / "model.gguf", backend="native", dtype="int8")
    assert [path.name for path in folder.iterdir()] == ["model.gguf"]


def test_where_nothing_can_be_kept_all_works(checkpoints: Path, tmp_path: Path) -> None:
    expected = load(checkpoints / "hf", backend="native", dtype="int8").logits("the cat")
    folder = tmp_path / "model"
    shutil.copytree(checkpoints / "hf", folder, ignore=shutil.ignore_patterns("*.packed"))

    def nowhere(*_: object, **__: object) -> None:
        raise PermissionError(13, "read-only")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pellucid.checkpoint.packed.new_file", nowhere)
        got = load(folder, backend="native", dtype="int8").logits("the cat")
    np.testing.assert_array_equal(got, expected)
    assert not list(folder.glob("*.packed"))
    alone = load(folder / "model.safetensors", backend="native", dtype="int8").logits("the cat")
    np.testing.assert_array_equal(alone, expected)


@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """The same tests, with every access and every overflow watched."""
    needs("g++")
    source = Path(__file__).parents[1] / "native" / "src"
    package = tmp_path / "pellucid_native"
    package.mkdir()
    shutil.copy(source.parent / "pellucid_native/__init__.py", package)
    flags = ["-std=c++17", "-O1", "-g", "-shared", "-fPIC", "-pthread", "-fno-math-errno"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    include = f"-I{sysconfig.get_path('include')}"
    target = package / "_kernels.abi3.so"
    subprocess.run(
        ["g++", *flags, include, *map(str, source.glob("*.cpp")), "-o", str(target)], check=True
    )
    # libstdc++ too: else the sanitizer does not find what throws, and ends at the first exception.
    libraries = [
        subprocess.run(
            ["g++", f"-print-file-name={name}.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan", "libstdc++")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-q", "-m", "not slow"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
