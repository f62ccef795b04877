"""The numpy backend's divided work: large enough that threads run, equal to one thread's."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import inspect
from pellucid.backend import get_backend
from pellucid.backend.numpy import NumpyBackend
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.weights import Affine, Embedding, initialise
from support.circuits import random_gpt
from support.models import near
from support.skips import BACKENDS, NEEDS


@pytest.mark.parametrize("n_row", [1, 5, 128, 129])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("threads", [2, 3])
def test_products_divided(n_row: int, transposed: bool, threads: int) -> None:
    """One row, few rows and many: each of the ways in which a product is divided."""
    rng = np.random.default_rng(0)
    machine = get_backend("numpy", dtype="float64", threads=threads)
    x, bias = rng.standard_normal((n_row, 1100)), rng.standard_normal(1000)
    if transposed:
        table = rng.standard_normal((1000, 1100))
        got, exact = machine.unembed(x, Embedding(table)), x @ table.T
    else:
        weight = rng.standard_normal((1100, 1000))
        got, exact = machine.linear(x, Affine(weight, bias)), x @ weight + bias
    assert machine.divides, "the work was not divided: the case is too small"
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-10)


def test_gelu_and_attention_divided() -> None:
    rng = np.random.default_rng(1)
    q, k, v = rng.standard_normal((3, 1, 4, 150, 16))
    x = rng.standard_normal((40, 3000))
    one = get_backend("numpy", dtype="float64", threads=1)
    for threads in (2, 3):
        for operation in ("gelu", "attend"):
            machine = get_backend("numpy", dtype="float64", threads=threads)
            values = (x,) if operation == "gelu" else (q, k, v, None, 0)
            got = getattr(machine, operation)(*values)
            assert machine.divides, "the work was not divided: the case is too small"
            exact = getattr(one, operation)(*values)
            np.testing.assert_allclose(got, exact, rtol=0, atol=1e-12)


def test_blas_keeps_to_one_thread_from_the_first_pass_on() -> None:
    """Its threads beside ours wait for each other: that first pass took seconds."""
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    hparams = HParams(n_vocab=1100, n_ctx=64, n_embd=256, n_head=4, n_layer=2)
    machine = get_backend("numpy", threads=2)
    model = Model.of(hparams, initialise(hparams, 0), machine)
    seen, before = [], threads()

    def tap(name: str, value: np.ndarray) -> np.ndarray:
        seen.append(threads())
        return value

    assert not machine.divides
    for _ in range(2):
        model.forward(np.arange(64), tap=tap)
        assert machine.divides, "the work was not divided: the case is too small"
        assert seen[-1] == {1}
        assert threads() == before
    assert seen[len(seen) // 2] == {1}  # of the second pass the first value


class Hidden:
    """A weight that only its backend can read: transposed, as int16 with one scale a row."""

    def __init__(self, numbers: np.ndarray, bias: np.ndarray | None) -> None:
        rows = numbers.T
        self.scale = np.abs(rows).max(1, keepdims=True) / 32767
        self.packed = np.round(rows / self.scale).astype(np.int16)
        self.bias = bias


class OpaqueBackend(NumpyBackend):
    """Its weights are no arrays: what the model and the inspection may rely on."""

    def prepare(self, w):
        bias = None if isinstance(w, Embedding) else self.asarray(w.bias)
        return Hidden(np.asarray(w.weight, np.float64), bias)

    def dense(self, w):
        return self.asarray((w.packed * w.scale).T)

    def embedding(self, w, ids):
        return self.dense(w)[ids]

    def linear(self, x, w, *, norm=None, gelu=False, add=None):
        x = x if norm is None else self.layer_norm(x, *norm)
        out = x @ self.dense(w) + w.bias
        out = self.gelu(out) if gelu else out
        return out if add is None else add + out

    def unembed(self, x, w):
        return x @ self.dense(w).T


def test_weights_may_be_anything_a_backend_likes() -> None:
    """Everything that looks inside works on weights that only their backend can read, and gives
    what the plain backend gives on the numbers that they stand for."""
    plain = random_gpt("float64")
    machine = OpaqueBackend("float64")
    opaque = GPT(Model.of(plain.hparams, plain.model.tensors(), machine), plain.tokenizer)
    rounded = opaque.model.tensors()
    assert all(np.abs(rounded[n] - v).max() < 1e-3 for n, v in plain.model.tensors().items())
    same = GPT(Model.of(plain.hparams, rounded, get_backend(dtype="float64")), plain.tokenizer)
    text = "abcabcab"

    def close(a, b) -> None:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)

    close(opaque.logits(text), same.logits(text))
    seen, expected = inspect.trace(opaque, text, "*result*"), inspect.trace(same, text, "*result*")
    for name in expected:
        close(seen[name], expected[name])
    for question in (
        lambda g: inspect.attribute(g, text).heads,
        lambda g: inspect.logit_lens(g, text).target_logprobs,
        lambda g: inspect.ablate_each(g, text, how="mean").logit_change,
        lambda g: inspect.ablate_each(g, text, "positions", how="mean").logit_change,
        lambda g: inspect.patch_each(g, "abcabcab", "abdabdab").recovered,
        lambda g: inspect.neighbours(g, "a").similarity,
    ):
        close(question(opaque), question(same))
    greedy = [g.generate(text, greedy=True, max_tokens=8).text for g in (opaque, same)]
    assert greedy[0] == greedy[1]
    if NEEDS["torch"].here():
        close(*(inspect.gradient_times_input(g, text).scores for g in (opaque, same)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_row", [1, 3, 9])
def test_a_linear_map_head_by_head(backend: str, n_row: int) -> None:
    rng = np.random.default_rng(7)
    machine = get_backend(backend, threads=2)
    weight, z = rng.standard_normal((3 * 8, 20)), rng.standard_normal((1, 3, n_row, 8))
    w = machine.prepare(Affine(weight, np.ones(20)))
    got = machine.to_numpy(machine.matmul(machine.asarray(z), w))
    expected = np.einsum("bhrn,hno->bhro", z, weight.reshape(3, 8, 20))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_of_the_pass_equal_the_whole(backend: str) -> None:
    gpt = random_gpt("float64", backend=backend)
    model, ids = gpt.model, gpt.encode("abcabcab")
    seen, atol = inspect.trace(gpt, ids), near(backend, 1e-10)
    to_numpy = model.backend.to_numpy
    for layer in range(gpt.hparams.n_layer):
        x = model.backend.asarray(seen[f"blocks.{layer}.resid_pre"][None])
        np.testing.assert_allclose(
            to_numpy(model.resume(x, layer))[0], seen["logits"][-1], atol=atol
        )
        z, result = seen[f"blocks.{layer}.attn.z"], seen[f"blocks.{layer}.attn_out"]
        heads = np.einsum("phd,hde->pe", z, to_numpy(model.w_output(layer)))
        np.testing.assert_allclose(heads + to_numpy(model.b_output(layer)), result, atol=atol)
    last = model.backend.asarray(seen[f"blocks.{gpt.hparams.n_layer - 1}.resid_post"])
    np.testing.assert_allclose(to_numpy(model.readout(last)), seen["logits"], atol=atol)
    normed = seen["ln_final.out"]
    np.testing.assert_allclose(normed @ to_numpy(model.unembedding()).T, seen["logits"], atol=atol)
    gain, bias = map(to_numpy, model.final_norm())
    np.testing.assert_allclose(seen["ln_final.normalized"] * gain + bias, normed, atol=atol)
    again = Model.of(gpt.hparams, model.tensors(), model.backend)
    np.testing.assert_array_equal(to_numpy(again.forward(ids)), to_numpy(model.forward(ids)))
