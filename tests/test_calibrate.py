"""Weights rounded with a text in view: against GPTQ written plainly, and through a file exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pellucid
from pellucid import checkpoint
from pellucid.backend import get_backend
from pellucid.backend.rounding import own_scales, quantise
from pellucid.calibrate import LEAST_TOKENS, calibrated, gptq
from pellucid.checkpoint.gguf_file import GgufFile
from pellucid.errors import InputError
from pellucid.evaluate import divergence
from pellucid.families.llama import LlamaHParams
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from pellucid.weights import Affine, Embedding
from support.models import lively
from support.program import invoke, run
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

SIZES = {
    "gpt2": HParams(n_vocab=258, n_ctx=64, n_embd=32, n_head=4, n_layer=2),
    "llama": LlamaHParams(
        n_vocab=258, n_ctx=64, n_embd=32, n_head=4, n_layer=2, n_kv_head=2, d_head=8, n_inner=96,
    ),
}  # fmt: skip
HEADS = {"gpt2": "wte.weight", "llama": "lm_head.weight"}
FORMAT_OF_INT4 = 3


def correlated(n_tokens: int, n_in: int, seed: int = 0) -> np.ndarray:
    """Inputs that go together, some larger than others, as those of a layer."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n_tokens, n_in // 4)) @ rng.standard_normal((n_in // 4, n_in))
    alone = rng.standard_normal((n_tokens, n_in))
    return (mixed + alone) * np.exp(rng.standard_normal(n_in))


# --- numbers that were rounded before are not rounded again ---------------------------------------

ROWS = arrays(np.float32, (3, 70), elements=st.floats(-4, 4, width=16).map(lambda x: x * 1.1))
CODES = arrays(np.int8, (4, 2, 32), elements=st.integers(-8, 7))
SCALES = arrays(np.float16, (4, 2), elements=st.floats(-8, 8, width=16).filter(
    lambda x: abs(x) > 1e-3))  # fmt: skip


@given(ROWS)
def test_what_was_rounded_stays(rows: np.ndarray) -> None:
    once = quantise(rows, "int4").numbers()
    np.testing.assert_array_equal(quantise(once, "int4").numbers(), once)


@given(CODES, SCALES)
def test_any_codes_and_scales_stay(codes: np.ndarray, scales: np.ndarray) -> None:
    """Whatever the largest code of a group is; in a table too, which is then kept in 4 bits."""
    blocks = codes * scales.astype(np.float32)[..., None]
    rows = blocks.reshape(4, 64)
    np.testing.assert_array_equal(quantise(rows, "int4").numbers(), rows)
    found = own_scales(blocks)
    assert ((found != 0) == codes.any(-1)).all()
    np.testing.assert_array_equal(found, found.astype(np.float16))


@given(CODES, SCALES)
def test_the_kernels_keep_them_too(codes: np.ndarray, scales: np.ndarray) -> None:
    needs("pellucid_native")
    rows = (codes * scales.astype(np.float32)[..., None]).reshape(4, 64)
    machine = get_backend("native", dtype="int4", threads=1)
    linear, table = (machine.prepare(w) for w in (Affine(rows.T), Embedding(rows)))
    np.testing.assert_array_equal(machine.dense(linear), rows.T)
    np.testing.assert_array_equal(machine.dense(table), rows)
    ids = np.array([[3, 0], [1, 1]])
    np.testing.assert_array_equal(machine.embedding(table, ids), rows[ids])
    assert table.stored.format == FORMAT_OF_INT4
    x = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    np.testing.assert_array_equal(machine.unembed(x, table), machine.linear(x, linear))


def test_every_processors_kernels_keep_them() -> None:
    kernels = needs("pellucid_native")
    rng = np.random.default_rng(5)
    most = rng.integers(1, 9, (40, 3, 1))  # the largest code of a group
    codes = rng.integers(-most, np.minimum(most, 7) + 1, (40, 3, 32))
    scales = rng.standard_normal((40, 3, 1)).astype(np.float16).astype(np.float32)
    rows = (codes * scales).astype(np.float32).reshape(40, 96)
    before = kernels.chosen()
    try:
        for name in kernels.kernels():
            kernels.choose(name)
            machine = get_backend("native", dtype="int4")
            np.testing.assert_array_equal(machine.dense(machine.prepare(Affine(rows.T))), rows.T)
            assert machine.prepare(Embedding(rows)).stored.format == FORMAT_OF_INT4
    finally:
        kernels.choose(before)


def test_a_table_that_is_on_no_grid_keeps_8_bits() -> None:
    """One number in it too that no 4 bits hold, wherever it stands."""
    needs("pellucid_native")
    machine = get_backend("native", dtype="int4")
    rng = np.random.default_rng(0)
    rows = quantise(rng.standard_normal((600, 64)).astype(np.float32), "int4").numbers()
    assert machine.prepare(Embedding(rows)).stored.format == FORMAT_OF_INT4
    rows[599, 63] += 0.01
    table = machine.prepare(Embedding(rows))
    assert table.stored.format == FORMAT_OF_INT4 - 1
    assert np.abs(machine.dense(table) - rows).max() < 0.02


# --- the algorithm --------------------------------------------------------------------------------


def plain_gptq(weight: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Optimal Brain Quantisation's own steps in a fixed order: after each input the inverse of what
    is left is made by elimination (GPTQ's paper, equations 2 and 3), all in float64."""
    squares = np.diagonal(products)
    groups = [list(range(begin, begin + 32)) for begin in range(0, len(weight), 32)]
    groups.sort(key=lambda group: -sum(squares[group]))
    damped = products + 0.01 * squares.mean() * np.eye(len(products))
    w, inverse = weight.astype(np.float64), np.linalg.inv(damped)
    for group in groups:
        group.sort(key=lambda i: -squares[i])
        costs, left = {}, inverse.copy()
        for i in group:
            costs[i] = left[i, i]
            left -= np.outer(left[:, i], left[i]) / left[i, i]
        for column in range(w.shape[1]):
            numbers = w[group, column]
            far = max(numbers, key=abs)
            errors = {}
            for at in [*np.arange(-5.5, -9, -0.25), *np.arange(5.5, 9, 0.25)]:
                scale = float(np.float16(far / at))
                codes = np.clip(np.round(numbers / scale), -8, 7)
                errors[scale] = sum(np.square(numbers - codes * scale) / list(costs.values()))
            scale, own = min(errors, key=errors.__getitem__), inverse.copy()
            for i in group:
                rounded = np.clip(np.round(w[i, column] / scale), -8, 7) * scale
                w[:, column] -= own[:, i] * (w[i, column] - rounded) / own[i, i]
                w[i, column] = rounded
                own -= np.outer(own[:, i], own[i]) / own[i, i]
                own[i] = own[:, i] = 0
        for i in group:
            inverse -= np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
            inverse[i] = inverse[:, i] = 0
    return w


@pytest.mark.parametrize("seed", [1, 2])
def test_against_gptq_written_plainly(seed: int) -> None:
    """Number for number; but that in float32 a scale, or a number, halfway between two may fall to
    the other side, which changes an output's later numbers, and no other output's."""
    x = correlated(400, 96, seed)
    weight = np.random.default_rng(seed).standard_normal((96, 8))
    found, wanted = gptq(weight, x.T @ x), plain_gptq(weight, x.T @ x)
    same = np.isclose(found, wanted, rtol=1e-6, atol=1e-7).all(0)
    assert same.sum() >= 7


def test_outputs_change_less_than_by_rounding_to_the_nearest() -> None:
    weight = np.random.default_rng(3).standard_normal((128, 40)).astype(np.float32)
    nearest = quantise(weight.T, "int4").numbers().T
    for seed in range(3):
        x, others = np.split(correlated(2000, 128, seed), 2)  # learned from, and not
        found = gptq(weight, x.T @ x)
        for inputs in (x, others):
            ours, theirs = (np.square(inputs @ (w - weight)).sum() for w in (found, nearest))
            assert ours < 0.5 * theirs
        np.testing.assert_array_equal(quantise(found.T, "int4").numbers().T, found)


def test_inputs_that_were_always_0() -> None:
    """Their numbers are the nearest: another text may use them."""
    weight = np.random.default_rng(4).standard_normal((64, 8)).astype(np.float32)
    x = correlated(500, 64)
    x[:, [5, 40]] = 0
    for products in (x.T @ x, np.zeros((64, 64))):
        found = gptq(weight, products)
        steps = own_scales(found.T.reshape(8, 2, 32)).T.repeat(32, 0)
        codes = np.rint(found / steps)
        dead = np.isin(np.arange(64), [5, 40]) if products.any() else np.full(64, True)
        within = dead[:, None] & (np.abs(codes) < 7)  # what is beyond the last code is cut off
        assert within.sum() > 0.5 * 8 * dead.sum()
        assert (np.abs(found - weight) <= 0.501 * np.abs(steps))[within].all()
    np.testing.assert_array_equal(gptq(np.zeros((32, 3)), np.eye(32)), 0)


# --- a model, a file ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    words = np.random.default_rng(0).choice(["the", "then", "that", "cat", "sat", "on"], 900)
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_text(" ".join(words), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=SIZES)
def model(request, tmp_path_factory):
    """-> its family, and its folder."""
    hparams = SIZES[request.param]
    tokenizer = Tokenizer(VOCAB, MERGES, {"<|endoftext|>": 257})
    folder = tmp_path_factory.mktemp("models") / request.param
    tensors = {name: each.astype(np.float32) for name, each in lively(hparams).items()}
    checkpoint.save(folder, hparams, tensors, tokenizer)
    return request.param, folder


@pytest.mark.parametrize("embeddings", ["q8_0", "q4_0"])
def test_the_command(model, text, tmp_path, embeddings) -> None:
    """The file holds the very numbers that were chosen, with which the compiled backend multiplies;
    the model is nearer to what it was than one rounded to the nearest."""
    gguf = needs("gguf")
    family, folder = model
    plain, file = tmp_path / "plain.gguf", tmp_path / "calibrated.gguf"
    options = ["--dtype", "q4_0", "--embeddings", embeddings]
    run("convert", folder, plain, *options)
    assert "(gguf, q4_0," in run("convert", folder, file, *options, "--calibrate", text)
    head = "token_embd.weight" if family == "gpt2" else "output.weight"
    types = {name: info.type for name, info in GgufFile(file).header.tensors.items()}
    assert (types[head], types["blk.1.ffn_down.weight"]) == (embeddings.upper(), "Q4_0")

    against = pellucid.load(folder, backend="numpy")
    words = text.read_text("utf-8")[:600]
    found, nearest = (
        divergence(pellucid.load(path, backend="numpy"), against, words) for path in (file, plain)
    )
    assert found.kl < 0.7 * nearest.kl

    stored = checkpoint.load(file).tensors
    table = embeddings == "q4_0"
    chosen = calibrated(pellucid.load(folder), [text.read_text("utf-8")], table=table)
    for name, numbers in stored.items():
        if (name == HEADS[family] and table) or not name.startswith(("wte", "lm_head")):
            np.testing.assert_array_equal(numbers, chosen[name], err_msg=name)
    for each in gguf.GGUFReader(file).tensors:  # as its own library reads it
        if each.name == "blk.1.ffn_down.weight":
            numbers = gguf.quants.dequantize(each.data, each.tensor_type)
            np.testing.assert_array_equal(numbers, stored["h.1.mlp.c_proj.weight"].T)
    again = tmp_path / "again.gguf"
    run("convert", file, again, *options)
    np.testing.assert_array_equal(GgufFile(again).stored(head), GgufFile(file).stored(head))
    assert again.read_bytes()[-4096:] == file.read_bytes()[-4096:]
    needs("pellucid_native")
    packed = pellucid.load(file, backend="native", dtype="int4").model.tensors()
    for name, numbers in stored.items():
        if table or not name.startswith(("wte", "lm_head")):
            np.testing.assert_array_equal(packed[name], numbers, err_msg=name)


def test_the_same_twice_and_only_what_is_asked_for(model, text) -> None:
    family, folder = model
    gpt = pellucid.load(folder, backend="numpy")
    told: list[tuple[int, int]] = []
    words = text.read_text("utf-8")
    found = calibrated(gpt, [words], on_progress=lambda *each: told.append(each))
    assert told == [(1, 2), (2, 2)]
    before, again = gpt.model.tensors(), calibrated(gpt, [words])
    whole = calibrated(gpt, [words], table=True)
    for name, numbers in found.items():
        np.testing.assert_array_equal(numbers, again[name])
        assert np.array_equal(numbers, before[name]) == (".c_" not in name or "bias" in name), name
        if ".c_" not in name:
            assert np.array_equal(whole[name], before[name]) == (name != HEADS[family]), name


def test_mistakes(model, text, tmp_path) -> None:
    _, folder = model
    target = tmp_path / "no.gguf"

    def refused(*options: object, to: object = target) -> str:
        done = invoke("convert", folder, to, *options)
        assert done.exit_code != 0
        return f"{done.output} {done.exception}"

    q4_0 = ("--dtype", "q4_0", "--calibrate")
    assert "--calibrate is for --dtype q4_0" in refused("--dtype", "q8_0", "--calibrate", text)
    assert "--embeddings is for --dtype q4_0" in refused("--embeddings", "q4_0")
    assert "in a TARGET.gguf" in refused(*q4_0, text, to=tmp_path / "folder")
    assert "absent.txt does not exist" in refused(*q4_0, tmp_path / "absent.txt")
    short = tmp_path / "short.txt"
    short.write_text("the cat", encoding="utf-8")
    assert f"at least {LEAST_TOKENS:,}" in refused(*q4_0, short)
    assert [each.name for each in tmp_path.iterdir()] == ["short.txt"]
    with pytest.raises(InputError, match="the 12 inputs of wte are no whole number of blocks"):
        calibrated(pellucid.load("talk", backend="numpy"), [])
    with pytest.raises(InputError, match="embeddings of q4_0 are q8_0 or q4_0, not 'q6_k'"):
        checkpoint.save(
            target, SIZES["gpt2"], {}, format="gguf", dtype="q4_0", embeddings="q6_k"
        )  # fmt: skip
