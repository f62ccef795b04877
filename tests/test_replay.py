"""Blocks asked again without the page (`backend.replay`): the same bits, nothing kept from a tap,
and never a block in which anything but the kernels had a hand."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from pellucid.backend import get_backend
from pellucid.blocks import BlockStore, Packed
from pellucid.families.llama import LlamaHParams, Rope
from pellucid.hparams import HParams
from pellucid.model import Model, Pass
from pellucid.model.one_pass import plainly
from pellucid.model.pages import page_of
from pellucid.weights import initialise
from support.skips import needs

needs("pellucid_native")
HPARAMS = HParams(n_vocab=90, n_ctx=64, n_embd=48, n_head=3, n_layer=2)
# Heads that share keys; biases, and norms of queries and keys.
LLAMA = LlamaHParams(
    n_vocab=90, n_ctx=64, n_embd=48, n_head=4, n_kv_head=2, d_head=16, n_inner=80, n_layer=2,
    rope=Rope(theta=100.0), tied=True,
)  # fmt: skip
QWEN = replace(LLAMA, qkv_bias=True, qk_norm=True, tied=False)
FAMILIES = pytest.mark.parametrize(
    "hparams", [HPARAMS, LLAMA, QWEN], ids=["GPT-2", "Llama", "Qwen3"]
)


def model(dtype: str = "int8", hparams: HParams = HPARAMS) -> Model:
    machine = get_backend("native", dtype=dtype, threads=2)
    return Model.of(hparams, initialise(hparams, 1), machine)


class Plain:
    """The same backend, whose blocks are always the page's."""

    def __init__(self, machine):
        self.machine = machine

    def __getattr__(self, name):
        return plainly if name == "apply_block" else getattr(self.machine, name)


def by_the_page(m: Model) -> Model:
    return Model(m.hparams, m.weights, Plain(m.backend))


def counted(m: Model):
    """-> (how often the page's block ran, a pass's block that counts)"""
    runs: list[int] = []

    def counting(x, w, layer, run):
        runs.append(layer)
        return page_of(m.hparams).block(x, w, layer, run)

    return runs, counting


@FAMILIES
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_same_bits(dtype: str, hparams: HParams) -> None:
    """Texts alone and together, one token at a time and a few, the last logits and all of them,
    and from an earlier place on."""
    m = model(dtype, hparams)
    page, rng = by_the_page(m), np.random.default_rng(0)
    for rows in (1, 3, 8, 1, 9):
        caches = m.new_cache(rows), page.new_cache(rows)
        for step in range(10):
            ids = rng.integers(0, 90, (rows, 4 if step == 0 else 1 + step % 2))
            if step == 7:
                for cache in caches:
                    cache.rewind(5)
            got, expected = (
                each.forward(ids, cache, last_only=step % 3 > 0)
                for each, cache in zip((m, page), caches, strict=True)
            )
            np.testing.assert_array_equal(got, expected)


@FAMILIES
def test_texts_in_blocks_of_a_store(hparams: HParams) -> None:
    """As a server's engine keeps them: side by side in one row, each with a past of its own."""
    m = model(hparams=hparams)
    page, rng = by_the_page(m), np.random.default_rng(1)
    stores = [BlockStore(hparams, each.backend, n_blocks=12, block_size=8) for each in (m, page)]
    for past in range(0, 14, 2):
        texts = [([0, 3, 5], past, 2), ([7, 1, 2], past, 2)]
        ids = rng.integers(0, 90, (1, 4))
        got, expected = (
            each.forward(ids, Packed(store, texts))
            for each, store in zip((m, page), stores, strict=True)
        )
        np.testing.assert_array_equal(got, expected)


@FAMILIES
def test_the_page_is_run_once(hparams: HParams) -> None:
    m = model(hparams=hparams)
    x, cache = np.ones((1, 1, 48), np.float32), m.new_cache()
    runs, counting = counted(m)
    for _ in range(4):
        m.backend.apply_block(counting, x, m.weights.h[0], 0, Pass(hparams, m.backend, cache))
    assert runs == [0]
    watched = Pass(hparams, m.backend, cache, lambda name, value: value)
    m.backend.apply_block(counting, x, m.weights.h[0], 0, watched)
    assert runs == [0, 0]


def test_a_tap_sees_and_changes_every_value_still() -> None:
    m = model("float32")
    cache = m.new_cache()
    for token in (1, 2, 3):
        m.forward([token], cache, last_only=True)
    seen = {}

    def tap(name, value):
        seen[name] = value
        return value * 2 if name == "blocks.0.mlp.post" else value

    changed = m.forward([4], cache, tap, last_only=True)
    assert "blocks.1.attn.pattern" in seen
    cache.rewind(3)
    assert not np.allclose(changed, m.forward([4], cache, last_only=True))


@pytest.mark.parametrize(
    "hand",
    ["a product by numpy", "another operation", "a copy", "what it gives", "turns of its own"],
)
def test_a_block_with_another_hand_in_it_is_the_page_each_time(hand: str) -> None:
    m, rng = model(), np.random.default_rng(2)
    w, cache = m.weights.h[0], m.new_cache()
    run = Pass(HPARAMS, m.backend, cache)
    runs: list[int] = []

    def meddled(x, w, layer, run):
        runs.append(layer)
        if hand == "a product by numpy":
            x = x * 2
        if hand == "another operation":
            x = run.backend.gelu(x)
        if hand == "a copy":
            x = x.copy()
        if hand == "turns of its own":  # they are of this pass's positions, not of another's
            heads = np.broadcast_to(x, (1, 3, 1, 48))[..., :16]
            by = tuple(np.full((1, 1, 16), len(runs), np.float32) for _ in "ab")
            heads = run.backend.attend(heads, heads, heads, run.cache, 0, by)
            x = heads.swapaxes(1, 2).reshape(1, 1, 48)
        out = run.backend.linear(x, w.attn.c_proj, add=x)
        return out + 1 if hand == "what it gives" else out

    for _ in range(3):
        x = rng.standard_normal((1, 1, 48)).astype(np.float32)
        got = m.backend.apply_block(meddled, x, w, 0, run)
        np.testing.assert_array_equal(got, meddled(x, w, 0, run))
    assert len(runs) == 6


def test_threads_do_not_meet() -> None:
    """Each thread has values of its own between two blocks."""
    m = model()
    texts = np.random.default_rng(3).integers(0, 90, (4, 40))

    def decoded(ids) -> np.ndarray:
        cache = m.new_cache()
        return np.concatenate([m.forward([each], cache, last_only=True) for each in ids])

    expected = [decoded(ids) for ids in texts]
    got: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: decoded(texts[i])})) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, logits in enumerate(expected):
        np.testing.assert_array_equal(got[i], logits)
