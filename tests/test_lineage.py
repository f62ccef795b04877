"""The four families on one sentence: each number beside one worked out here."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import pellucid
from pellucid import inspect
from pellucid.errors import InputError
from pellucid.families.gpt3 import GPT3HParams
from pellucid.hparams import HParams
from pellucid.weights import initialise
from support.program import invoke, run

TEXT = "The power clapper went straight to jail"


def test_each_number_is_what_its_family_computes():
    found = inspect.lineage(TEXT)
    rows = {(row.part, row.what): row.values for row in found.compared}
    ids = pellucid.load("chat").encode(TEXT)
    n = len(ids)
    assert found.tokens == (n, n, n, n)
    # The paper's waves: d_model / 2 pairs of sine and cosine, each of length 1.
    paper, gpt2, gpt3, llama = rows["positions", "added"]
    assert paper == pytest.approx(math.sqrt(32 / 2), rel=1e-5)
    weights = initialise(HParams(8192, 64, 32, 4, 2), 0)
    assert gpt2 == gpt3 == pytest.approx(np.linalg.norm(weights["wpe.weight"][n - 1]), rel=1e-5)
    assert llama is None
    table = weights["wte.weight"]
    assert rows["positions", "embedding"][1] == pytest.approx(np.linalg.norm(table[ids[-1]]))
    assert rows["positions", "embedding"][0] == pytest.approx(5.64, abs=0.01)  # times √d_model

    # Layer norm: mean 0. RMS norm leaves the mean, and the squares' mean is 1 but for ε.
    assert np.abs(rows["norms", "mean"][:3]).max() < 1e-6
    assert abs(rows["norms", "mean"][3]) > 0.1
    stream = rows["norms", "stream"]
    for at in (1, 2, 3):
        mean_square = stream[at] ** 2 / 32
        expected = math.sqrt(mean_square / (mean_square + 1e-5))
        assert rows["norms", "rms"][at] == pytest.approx(expected, abs=2e-3)
    # Behind a post-norm every stream is as long: the root of its width.
    assert rows["norms", "then"][0] == pytest.approx(math.sqrt(32), rel=1e-4)

    assert rows["heads", "kept"] == (64, 64, 64, 32)  # keys and values of 4 heads of 8, or of 2
    assert rows["heads", "seen in 0"] == (n, n, n, n)
    assert rows["heads", "seen in 1"] == (n, n, 4, n)
    assert rows["heads", "of a source"] == (n, None, None, None)
    assert rows["MLP", "numbers"] == (8192, 8192, 8192, 3 * 32 * 86)
    zero, below = rows["MLP", "at 0"], rows["MLP", "below 0"]
    assert 0.3 < zero[0] < 0.7
    assert zero[1:] == (0, 0, 0)
    assert below[0] == 0
    assert all(0.3 < share < 0.7 for share in below[1:])


def test_how_far_a_query_is_turned():
    found = inspect.lineage("a b c")
    rows = {row.what: row.values for row in found.compared}
    from pellucid.families.llama import LlamaHParams

    five = {"n_vocab": 8192, "n_ctx": 64, "n_embd": 32, "n_head": 4, "n_layer": 2}
    hparams = LlamaHParams(**five, n_kv_head=2, d_head=8, n_inner=86, tied=True)
    p = initialise(hparams, 0)
    ids = pellucid.load("chat").encode("a b c")
    x = p["wte.weight"][ids[-1]].astype(float)
    x = x / math.sqrt((x**2).mean() + hparams.epsilon) * p["h.0.ln_1.weight"]
    q = x @ p["h.0.attn.c_attn.weight"][:, :8]
    turns = (len(ids) - 1) / 10_000 ** (np.arange(4) / 4)  # of each pair, in radians
    cosine = (np.cos(turns) * (q[:4] ** 2 + q[4:] ** 2)).sum() / (q @ q)
    assert rows["query"][3] == pytest.approx(np.linalg.norm(q), rel=1e-4)
    assert rows["turned"] == (None, None, None, pytest.approx(cosine, abs=1e-4))


def test_command_with_models_of_ones_own(tmp_path):
    hparams = GPT3HParams(**pellucid.load("talk").hparams.to_dict(), band=2)
    talk = pellucid.load("talk")
    weights = {name: value.astype("f4") for name, value in talk.model.tensors().items()}
    pellucid.checkpoint.save(tmp_path / "banded", hparams, weights, tokenizer=talk.tokenizer)
    given = ("--model", "digits", "--model", "talk", "--model", tmp_path / "banded")
    known = json.loads(run("lineage", "The power clapper", *given, "--json"))
    assert known["models"][:3] == ["digits", "talk", str(tmp_path / "banded")]
    rows = {row["what"]: row["values"] for row in known["compared"]}
    assert rows["seen in 1"][1:3] == [4, 2]
    assert rows["query"][1] == rows["query"][2]  # the first layer is the same
    page = tmp_path / "page.html"
    assert "What changed since 2017: MLP" in run("lineage", TEXT, "--html", page)
    assert "SwiGLU" in page.read_text(encoding="utf-8")
    twice = invoke("lineage", "a", "--model", "talk", "--model", "chat")
    assert "chat is the second model of its family" in str(twice.exception)
    with pytest.raises(InputError, match="the text is empty"):
        inspect.lineage("")
