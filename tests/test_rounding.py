"""Weights in 8 and 4 bits against arithmetic written out, and a model held against another."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pellucid
from pellucid.backend import get_backend
from pellucid.backend.rounded import RoundedBackend
from pellucid.backend.rounding import FORMATS, quantise, rounded_inputs
from pellucid.errors import InputError
from pellucid.evaluate import divergence, perplexity, rounded
from pellucid.evaluate.against import NEAR_TIE
from pellucid.weights import Affine, Embedding
from support.models import lively_gpt
from support.program import run
from support.skips import needs

SHAPES = [(3, 64), (5, 32), (2, 128), (4, 70), (1, 1), (3, 33), (7, 100)]


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("format", FORMATS)
def test_codes_and_scales(shape, format):
    """Each number is its code times its group's step, and within half a step, save what 4 bits cut
    off at the ends."""
    rows, kind = normal(shape), FORMATS[format]
    kept = quantise(rows, format)
    n_groups = -(-shape[1] // kind.group)
    assert kept.codes.shape == (shape[0], n_groups, kind.group)
    assert kept.scales.shape == (shape[0], n_groups)
    assert kept.codes.min() >= kind.low
    assert kept.codes.max() <= kind.high
    assert np.log2(kept.unit) == int(np.log2(kept.unit))
    found = kept.numbers()
    assert found.shape == shape
    for i, j in np.ndindex(shape):
        group = j // kind.group
        step = float(kept.scales[i, group]) * kept.unit
        code = int(kept.codes[i, group, j % kind.group])
        assert found[i, j] == pytest.approx(code * step, rel=1e-6)
        ends = (kind.low, kind.high)
        slack = 2**-10 * abs(rows[i, j])  # of the step, in float16
        if format == "int8" or code not in ends:
            assert abs(found[i, j] - rows[i, j]) <= abs(step) / 2 + slack


def test_4_bits_take_the_scale_with_the_least_error():
    rows = normal((20, 32), 3)
    kept = quantise(rows, "int4")
    for row, group in zip(rows.astype(np.float64), kept.scales.astype(np.float64), strict=True):
        far = max(row, key=abs)
        errors = []
        for at in np.arange(-8.5, -6.4, 0.25):
            codes = [min(7, max(-8, round(x * at / far))) for x in row]
            errors.append(sum((x - c * far / at) ** 2 for x, c in zip(row, codes, strict=True)))
        step = float(group[0]) * kept.unit
        codes = [min(7, max(-8, round(x / step))) for x in row]
        own = sum((x - c * step) ** 2 for x, c in zip(row, codes, strict=True))
        assert own <= min(errors) * 1.01


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_scale_does_not_matter(format, factor):
    rows = normal((4, 96))
    far = quantise(rows * np.float32(factor), format).numbers() / np.float32(factor)
    np.testing.assert_allclose(far, quantise(rows, format).numbers(), atol=0.02)


@pytest.mark.parametrize("format", FORMATS)
def test_zeros_stay_zeros(format):
    rows = normal((3, 100))
    rows[1] = 0
    rows[2, :64] = 0
    found = quantise(rows, format).numbers()
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_array_equal(found[2, :64], 0)
    np.testing.assert_array_equal(quantise(np.zeros((2, 5), np.float32), format).numbers(), 0)
    np.testing.assert_array_equal(rounded_inputs(rows[1:2], format), 0)


@pytest.mark.parametrize("format", FORMATS)
def test_products_are_sums_of_whole_numbers(format):
    """As kernels compute them: bytes times codes summed in whole numbers, group by group."""
    x, weight, bias = normal((5, 100), 1), normal((100, 7), 2), normal(7, 3)
    machine = RoundedBackend(format, format)
    kept, size = quantise(weight.T, format), FORMATS[format].group
    padded = np.pad(x, ((0, 0), (0, -100 % size))).reshape(5, -1, size)
    most = np.abs(padded).max(-1, keepdims=True)
    bytes_of_x = np.rint(padded * (np.float32(127) / most)).astype(np.int64)
    products = np.einsum("mgk,ngk->mng", bytes_of_x, kept.codes.astype(np.int64))
    scales = (most[..., 0] / 127.0)[:, None] * kept.scales.astype(np.float64)[None] * kept.unit
    wanted = (products * scales).sum(-1)
    affine = machine.prepare(Affine(weight, bias))
    np.testing.assert_allclose(machine.linear(x, affine), wanted + bias, atol=2e-4)
    np.testing.assert_array_equal(affine.bias, bias)
    table = machine.prepare(Embedding(weight.T))
    np.testing.assert_allclose(machine.unembed(x, table), wanted, atol=2e-4)


def test_only_what_is_asked_for_is_rounded():
    gpt, tensors = lively_gpt(dtype="float32")
    for linear, head in (("int8", None), (None, "int4")):
        after = rounded(gpt, linear, head).model.tensors()
        for name, tensor in tensors.items():
            of = head if name == "wte.weight" else linear if ".c_" in name else None
            exact = np.array_equal(after[name], tensor.astype(np.float32))
            assert exact == (of is None or name.endswith("bias")), name
    with pytest.raises(InputError, match="int8 or int4, not 'int5'"):
        rounded(gpt, "int5")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(64, 16), (100, 33), (256, 48)])
def test_the_kernels_keep_the_same_numbers(format, shape):
    """The compiled backend's weights are these codes and scales, and its products these."""
    needs("pellucid_native")
    native, plain = get_backend("native", dtype=format), RoundedBackend(format, "int8")
    weight, bias, x = normal(shape, 1), normal(shape[1], 2), normal((3, shape[0]), 3)
    theirs, ours = (each.prepare(Affine(weight, bias)) for each in (native, plain))
    np.testing.assert_allclose(native.dense(theirs), plain.dense(ours), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(native.linear(x, theirs), plain.linear(x, ours), atol=2e-4)
    theirs, ours = (each.prepare(Embedding(weight.T)) for each in (native, plain))
    np.testing.assert_allclose(native.dense(theirs), plain.dense(ours), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(native.unembed(x, theirs), plain.unembed(x, ours), atol=2e-4)


# --- one model held against another ---------------------------------------------------------------

TEXT = "the then that this thing, the thinnest of them"


def by_hand(gpt, against, ids, window):
    """KL, costs and likeliest tokens, one prediction at a time."""
    for i in range(1, len(ids)):
        first = min((i - 1) // window * window, len(ids) - 1 - window)  # the last is filled up
        rows = []
        for each in (gpt, against):
            row = each.logits(ids[first : first + window])[i - 1 - first]
            row = row.astype(np.float64)
            rows.append(row - row.max() - np.log(np.exp(row - row.max()).sum()))
        ours, theirs = rows
        highest = np.sort(theirs)[-2:]
        yield (
            float((np.exp(theirs) * (theirs - ours)).sum()), -ours[ids[i]], -theirs[ids[i]],
            ours.argmax() != theirs.argmax(), highest[1] - highest[0] < NEAR_TIE,
        )  # fmt: skip


def test_against_arithmetic_by_hand():
    against, _ = lively_gpt()
    gpt = rounded(against, "int4", "int4")
    found = divergence(gpt, against, TEXT, window=12, stride=12)
    ids = [against.tokenizer.end_of_text, *against.tokenizer.encode(TEXT)]
    rows = list(by_hand(gpt, against, ids, 12))
    kl, ours, theirs, flipped, near = (np.array(each) for each in zip(*rows, strict=True))
    assert found.n_tokens == len(rows) == len(ids) - 1
    assert found.kl == pytest.approx(kl.sum(), rel=1e-4)
    assert found.most == pytest.approx(kl.max(), rel=1e-4)
    assert found.nats == pytest.approx(ours.sum(), rel=1e-5)
    assert found.nats_against == pytest.approx(theirs.sum(), rel=1e-9)
    assert (found.flips, found.near_ties) == (flipped.sum(), (flipped & near).sum())
    assert 0 < found.flips < found.n_tokens
    assert found.same_top_1 == pytest.approx(1 - flipped.mean())
    assert found.perplexity_ratio == pytest.approx(np.exp((ours - theirs).mean()), rel=1e-5)
    error = np.exp((ours - theirs).mean()) * (ours - theirs).std() / np.sqrt(len(rows))
    assert found.ratio_error == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("stride", [None, 5])
def test_the_same_tokens_as_perplexity(stride):
    against, _ = lively_gpt()
    gpt = rounded(against, "int8")
    documents = [TEXT, "", "a"]
    found = divergence(gpt, against, documents, stride=stride)
    for each, nats in ((gpt, found.nats), (against, found.nats_against)):
        score = perplexity(each, documents, stride=stride)
        assert (score.n_tokens, score.n_documents) == (found.n_tokens, found.n_documents)
        assert score.nats == pytest.approx(nats, rel=1e-5)


def test_a_model_beside_itself():
    gpt, _ = lively_gpt()
    found = divergence(gpt, gpt, TEXT)
    assert (found.kl, found.most, found.flips, found.perplexity_ratio) == (0, 0, 0, 1)
    assert found.same_top_1 == 1


def test_mistakes():
    gpt, _ = lively_gpt()
    with pytest.raises(InputError, match="have different tokens"):
        divergence(gpt, pellucid.load("talk"), TEXT)
    with pytest.raises(InputError, match="the text is empty"):
        divergence(gpt, gpt, "")
    with pytest.raises(InputError, match="window must be between"):
        divergence(gpt, gpt, TEXT, window=13)


def test_the_command_line(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("Once upon a time there was a little girl who had a red ball. " * 2)
    found = json.loads(run("eval", path, "--round", "int8", "--json"))
    assert found["model"] == "chat, linear layers int8, output layer int8"
    assert found["against"] == "chat"
    assert 0 < found["kl_per_token"] < 0.02
    assert found["same_top_1"] > 0.9
    assert abs(found["perplexity_ratio"] - 1) < 0.05
    shown = run("eval", path, "--round", "none,int4")
    assert "linear layers whole, output layer int4" in shown
    assert "near a tie" in shown
    assert "KL per token          0.00000 nats" in run("eval", path, "--against", "chat")


def test_conversations_in_their_template(tmp_path):
    path = tmp_path / "turns.jsonl"
    turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi, you."}]
    path.write_text(json.dumps({"messages": turns}) + "\n")
    found = json.loads(run("eval", path, "--against", "chat", "--json"))
    chat = pellucid.load("chat")
    n = sum(2 + len(chat.tokenizer.encode(turn["content"])) for turn in turns)
    assert (found["n_tokens"], found["flips"]) == (n, 0)
    tasks = tmp_path / "blimp.jsonl"
    tasks.write_text(json.dumps({"sentence_good": "a b", "sentence_bad": "b a"}) + "\n")
    with pytest.raises(InputError, match="on texts, not on blimp"):
        run("eval", tasks, "--against", "chat")
