"""Gradients against finite differences, integrated gradients against what they promise."""

import builtins
import json

import numpy as np
import pytest

from pellucid.errors import InputError
from pellucid.inspect import Edits, gradient_times_input, integrated_gradients
from support.circuits import random_gpt
from support.skips import needs

needs("torch")
TEXT = "abcahg"


@pytest.fixture(scope="module")
def gpt():
    return random_gpt("float64")


def logit(gpt, embeddings, target, versus, position):
    out = gpt.forward([gpt.encode(TEXT)], tap=Edits(gpt, {"embed": lambda _: embeddings[None]}))
    row = out[0, position]
    return row[target] - (0 if versus is None else row[versus])


@pytest.mark.parametrize(("versus", "position"), [(None, -1), (4, 3)])
def test_gradients_are_finite_differences(gpt, versus, position):
    found = gradient_times_input(gpt, TEXT, 5, versus=versus, position=position, dtype="float64")
    x = gpt.model.weights.wte.weight[gpt.encode(TEXT)]
    assert found.value == pytest.approx(logit(gpt, x, 5, versus, position), abs=1e-10)
    step = 1e-5
    for i in range(len(TEXT)):
        for j in range(0, 24, 5):
            moved = np.zeros_like(x)
            moved[i, j] = step
            ends = [logit(gpt, x + sign * moved, 5, versus, position) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step)
            assert found.gradient[i, j] == pytest.approx(slope, abs=1e-6)
    np.testing.assert_allclose(found.scores, (found.gradient * x).sum(-1))


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_integrated_gradients_are_complete(gpt, baseline):
    found = integrated_gradients(gpt, TEXT, 5, baseline=baseline, steps=400, dtype="float64")
    table = gpt.model.weights.wte.weight
    start = np.zeros((6, 24)) + (table.mean(0) if baseline == "mean" else 0)
    assert found.baseline_value == pytest.approx(logit(gpt, start, 5, None, -1), abs=1e-10)
    gain = found.value - found.baseline_value
    assert found.scores.sum() == pytest.approx(gain, abs=1e-3 * max(1, abs(gain)))
    assert found.residue == pytest.approx(found.scores.sum() - gain, abs=1e-9)
    coarse = integrated_gradients(gpt, TEXT, 5, baseline=baseline, steps=10, dtype="float64")
    assert abs(found.residue) < abs(coarse.residue)


def test_later_tokens_get_nothing(gpt):
    for method in (gradient_times_input, integrated_gradients):
        found = method(gpt, TEXT, position=2)
        assert (found.scores[3:] == 0).all()
        assert found.target_id == gpt.logits(TEXT)[2].argmax()
        np.testing.assert_allclose(found.scores[:3], method(gpt, TEXT[:3]).scores, rtol=1e-4)
        assert json.dumps(found.to_dict(), allow_nan=False)


def test_a_torch_model_gives_the_same(gpt):
    found = gradient_times_input(random_gpt("float64", backend="torch"), TEXT, dtype="float64")
    expected = gradient_times_input(gpt, TEXT, dtype="float64")
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-10)


def test_without_torch_it_says_what_to_install(gpt, monkeypatch):
    real = builtins.__import__

    def no_torch(name, *rest, **more):
        if "torch" in name:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.delitem(__import__("sys").modules, "pellucid.backend.torch", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(InputError, match=r"pellucid\[torch\]"):
        gradient_times_input(gpt, TEXT)


def test_mistakes_are_named(gpt):
    for arguments, message in (
        ({"steps": 0}, "steps"),
        ({"baseline": "noise"}, "baseline"),
        ({"dtype": "float16"}, "float32 or float64"),
    ):
        with pytest.raises(InputError, match=message):
            integrated_gradients(gpt, TEXT, **arguments)
