"""Keys and values in blocks: a pass over several texts at once is each text's own pass."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.blocks import BlockPool, BlockStore, Packed
from pellucid.errors import ContextError
from pellucid.families.llama import LlamaHParams
from pellucid.hparams import HParams
from pellucid.model import Model
from support.models import Reader, lively, model
from support.skips import BACKENDS, only_with

HPARAMS = HParams(n_vocab=50, n_ctx=40, n_embd=16, n_head=2, n_layer=2)
TENSORS = lively(HPARAMS)
LLAMA = LlamaHParams(
    n_vocab=50, n_ctx=40, n_embd=16, n_head=4, n_layer=2, n_kv_head=2, d_head=6, n_inner=24
)
MODELS = (*BACKENDS, "numpy, two threads")
LLAMAS = (
    "numpy, llama",
    pytest.param("torch, llama", marks=only_with("torch")),
    pytest.param("native, llama", marks=only_with("pellucid_native")),
)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """As far as the type lets them: the native backend computes in float32."""
    atol = 1e-10 if expected.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@cache
def of(name: str) -> Model:
    backend, _, threads = name.partition(", ")
    if threads == "llama":
        return model(LLAMA, lively(LLAMA), backend, "float64")
    return model(HPARAMS, TENSORS, backend, "float64", threads=2 if threads else None)


@pytest.mark.parametrize("name", [*MODELS, *LLAMAS])
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4),
    st.sampled_from([1, 3, 16]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=20, deadline=None)
def test_texts_side_by_side_are_each_as_alone(name, chunks, block_size, rng) -> None:
    """chunks: per text, how many of its tokens come in each pass. Blocks lie anywhere."""
    m = of(name)
    chunks = [[n for i, n in enumerate(each) if sum(each[: i + 1]) <= 40] for each in chunks]
    texts = [[rng.randrange(50) for _ in range(sum(each))] for each in chunks]
    n_blocks = sum(-(-len(text) // block_size) for text in texts)
    store = BlockStore(m.hparams, m.backend, n_blocks=n_blocks, block_size=block_size)
    numbers = list(range(n_blocks))
    rng.shuffle(numbers)
    tables = [[numbers.pop() for _ in range(-(-len(text) // block_size))] for text in texts]
    known = [0] * len(texts)
    logits: list[list[np.ndarray]] = [[] for _ in texts]
    for turn in range(max(map(len, chunks))):
        joined = [i for i, each in enumerate(chunks) if turn < len(each)]
        packed = Packed(store, [(tables[i], known[i], chunks[i][turn]) for i in joined])
        tokens = [t for i in joined for t in texts[i][known[i] : known[i] + chunks[i][turn]]]
        rows = m.backend.to_numpy(m.forward(tokens, packed))
        for i in joined:
            n = chunks[i][turn]
            logits[i].append(rows[:n])
            rows = rows[n:]
            known[i] += n
    for text, parts in zip(texts, logits, strict=True):
        alone = m.backend.to_numpy(m.forward(text))
        close(np.concatenate(parts), alone)


@pytest.mark.parametrize("name", MODELS)
def test_only_the_logits_asked_for(name: str) -> None:
    m = of(name)
    store = BlockStore(HPARAMS, m.backend, n_blocks=4, block_size=8)
    tokens = list(range(20))
    texts = [([2, 0], 0, 12), ([3, 1], 0, 8)]
    whole = m.backend.to_numpy(m.forward(tokens, Packed(store, texts)))
    some = m.backend.to_numpy(m.forward(tokens, Packed(store, texts), only=[11, 4, 19]))
    close(some, whole[[11, 4, 19]])


@pytest.mark.parametrize("name", MODELS)
def test_every_value_can_be_seen(name: str) -> None:
    """The explicit attention over blocks: one text, each value as in a plain pass."""
    m = of(name)
    store = BlockStore(HPARAMS, m.backend, n_blocks=8, block_size=3)
    tokens = [7 * i % 50 for i in range(17)]
    seen, plain = Reader(m), Reader(m)
    m.forward(tokens[:9], Packed(store, [([5, 1, 2, 7, 0, 3], 0, 9)]))
    m.forward(tokens[9:], Packed(store, [([5, 1, 2, 7, 0, 3], 9, 8)]), tap=seen)
    m.forward(tokens, tap=plain)
    assert seen.seen.keys() == plain.seen.keys()
    for name, value in plain.seen.items():
        if name.endswith(("qk", "scores", "pattern")):
            close(seen.seen[name], value[:, :, 9:])
        else:
            close(seen.seen[name], value[:, 9:])


def test_a_text_beyond_the_window_is_refused() -> None:
    m = of("numpy")
    store = BlockStore(HPARAMS, m.backend, n_blocks=8, block_size=8)
    with pytest.raises(ContextError, match="41"):
        m.forward([1], Packed(store, [([0, 1, 2, 3, 4, 5], 40, 1)]))


def test_stretches_are_as_few_as_there_are() -> None:
    store = BlockStore(HPARAMS, of("numpy").backend, n_blocks=8, block_size=4)
    assert store.places([2, 3, 4], 0, 11) == [slice(8, 19)]
    assert store.places([2, 3, 6], 3, 11) == [slice(11, 16), slice(24, 27)]
    assert store.places([5], 0, 0) == []


def test_the_pool_gives_what_it_has() -> None:
    pool = BlockPool(3, 4)
    taken = [pool.take() for _ in range(3)]
    assert sorted(taken) == [0, 1, 2]  # type: ignore[type-var]
    assert pool.take() is None
    assert (pool.n_used, pool.n_free, pool.n_available) == (3, 0, 0)
    pool.release([taken[0]])  # type: ignore[list-item]
    assert pool.take() == taken[0]
