"""The walk: what is printed and what JSON holds are the model's own values."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

import pellucid
from pellucid.cli.walk import command, walk
from pellucid.errors import InputError

TEXT = "The power clapper"


@pytest.fixture(scope="module")
def gpt():
    return pellucid.load("talk")


def printed(gpt, width=100, text=TEXT, **places):
    out = io.StringIO()
    walk(gpt, text, Console(file=out, width=width, highlight=False), **places)
    return out.getvalue()


def tapped(gpt):
    seen = {}

    def tap(name, value):
        seen[name] = np.array(value)[0]
        return value

    gpt.forward(gpt.encode(TEXT), tap=tap)
    return seen


def as_json(*options):
    from click.testing import CliRunner

    result = CliRunner().invoke(
        command, [TEXT, "--json", "--model", "talk", *options], catch_exceptions=False
    )
    assert result.exit_code == 0
    return json.loads(result.stdout)


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 2), (-1, -1)])
def test_printed_numbers_are_the_taps(gpt, layer, head):
    text, seen = printed(gpt, 200, layer=layer, head=head), tapped(gpt)
    h = gpt.hparams
    at = f"blocks.{layer % h.n_layer}"
    rows = [seen[f"{at}.attn.{name}"][:, head] for name in ("q", "k", "v", "z")]
    rows.append(seen[f"{at}.attn.pattern"][head])
    rows.append(seen[f"{at}.attn_out"])
    lines = [line.split() for line in text.splitlines()]
    for row in np.concatenate([r.reshape(-1, r.shape[-1]) for r in rows[:4]]):
        assert [f"{number:.3f}" for number in row] in [line[1:] for line in lines]
    for row in np.concatenate(rows[4:5]):
        assert [f"{number:.3f}" for number in row] in [line[1:] for line in lines]
    for row in rows[5]:
        assert [f"{number:.3f}" for number in row] in [line[1:] for line in lines]


def test_pattern_is_the_formula_s(gpt):
    """softmax(q · kᵀ / √d_k) where no token sees a later one, by numpy alone."""
    values = as_json("--layer", "1", "--head", "2")["values"]
    q, k = (np.array(values[f"blocks.1.attn.{name}"])[:, 2] for name in "qk")
    scores = q @ k.T / np.sqrt(gpt.hparams.d_k)
    scores[np.triu_indices(len(q), 1)] = -np.inf
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(values["blocks.1.attn.pattern"][2], shares, atol=1e-6)


def test_json_is_python_s(gpt):
    found = as_json()
    out = gpt.generate(TEXT, greedy=True)
    assert found["generated"] == out.text
    assert found["reason"] == out.reason == "context window full"
    assert [token["id"] for token in found["tokens"]] == gpt.encode(TEXT)
    np.testing.assert_array_equal(
        np.array(found["values"]["logits"], np.float32), tapped(gpt)["logits"]
    )
    assert found["values"]["blocks.0.attn.scores"][0][0][1] is None  # JSON has no -∞


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_no_line_is_wider_than_the_terminal(gpt, width):
    assert max(map(cell_len, printed(gpt, width).splitlines())) <= width


def test_many_heads_and_a_long_text_fit_too(gpt):
    from pellucid.backend import get_backend
    from pellucid.gpt import GPT
    from pellucid.hparams import HParams
    from pellucid.model import Model
    from pellucid.weights import initialise, unflatten

    hparams = HParams(gpt.hparams.n_vocab, 128, 24, 12, 12)
    model = Model(hparams, unflatten(initialise(hparams, 0, "float32"), hparams), get_backend())
    large = GPT(model, gpt.tokenizer)
    for width in (40, 80, 120):
        for place in (0, 9, -1):
            text = printed(large, width, " power clap" * 15, layer=7, head=11, position=place)
            assert max(map(cell_len, text.splitlines())) <= width
            assert len(text.splitlines()) < 600


def test_ends_with_the_text_and_the_reason(gpt):
    text = printed(gpt)
    assert "context window full" in text
    assert text.rstrip().endswith(TEXT + gpt.generate(TEXT, greedy=True).text)
    assert "ends: length" in printed(gpt, max_tokens=1)


@pytest.mark.parametrize(("place", "size"), [("layer", 2), ("head", 3), ("position", 4)])
def test_refuses_a_place_that_is_not_there(gpt, place, size):
    for wrong in (size, -size - 1):
        with pytest.raises(InputError, match=f"--{place} must be between {-size} and {size - 1}"):
            printed(gpt, **{place: wrong})


def test_refuses_before_it_computes(monkeypatch, tmp_path):
    from click.testing import CliRunner

    from pellucid.gpt import GPT

    def never(*_, **__):
        raise AssertionError("it ran")

    monkeypatch.setattr(GPT, "forward", never)
    path = tmp_path / "page.html"
    for place in ("--layer", "--head", "--position"):
        for more in ([], ["--json"], ["--html", str(path)]):
            with pytest.raises(InputError, match=f"{place} must be between"):
                CliRunner().invoke(
                    command, [TEXT, place, "99", "--model", "talk", *more], catch_exceptions=False
                )
    assert not path.exists()


def test_pictures_are_the_inspections(gpt):
    from pellucid import inspect
    from pellucid.draw.terminal import Drawing

    walked = printed(gpt, 80, layer=1, head=2, position=2)
    ids = gpt.encode(TEXT)
    (heads,) = inspect.attention(gpt, ids, layers=1).sections(position=2)
    for content in (
        heads.pictures[0],
        inspect.residual_norms(gpt, ids).sections(),
        inspect.logit_lens(gpt, ids).sections(),
    ):
        out = io.StringIO()
        Console(file=out, width=80).print(Drawing(content))
        assert out.getvalue() in walked


def test_html_is_the_view_s_page(gpt, tmp_path):
    from click.testing import CliRunner

    from pellucid.inspect import page, view

    path = tmp_path / "page.html"
    CliRunner().invoke(
        command, [TEXT, "--html", str(path), "--model", "talk"], catch_exceptions=False
    )
    assert path.read_text(encoding="utf-8") == page(view(gpt, TEXT), title=TEXT)


def test_mistakes_exit_2():
    run = subprocess.run(
        [sys.executable, "-c", "from pellucid.cli import main; main()", "walk", "--head", "99"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("Error: --head")
    assert "Traceback" not in run.stderr


def test_probabilities_are_the_softmax_of_the_logits(gpt):
    logits = tapped(gpt)["logits"][-1].astype(np.float64)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    lines = [line.split() for line in printed(gpt).splitlines()]
    for token in np.argsort(-shares)[:8]:
        name = gpt.tokenizer.decode([int(token)]).strip()
        row = next(line for line in lines if line[:1] == [f"␣{name}"] and "%" in line[1])
        assert row[1] == f"{shares[token]:.3%}"


def test_says_which_positions_are_left_out(gpt):
    assert "positions 1 to 3 of 4" in " ".join(printed(gpt, 40).split())
    assert "positions" not in printed(gpt, 100).split("4. Self-attention")[0]
