"""The walk: what is printed and what JSON holds are the model's own values."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from rich.cells import cell_len

from pellucid import inspect
from pellucid.checkpoint import Roles
from pellucid.draw.notation import percent
from pellucid.draw.terminal import Drawing
from pellucid.errors import InputError
from pellucid.gpt import GPT
from support import screen
from support.program import process, run

TEXT = "The power clapper"


def printed(gpt, width=100, text=TEXT, **places):
    return screen.printed(inspect.walk(gpt, text, **places), width)


def written(row):
    """As numbers are shown: three decimals, a minus sign, no sign for what rounds to 0."""
    texts = (f"{number:.3f}" for number in row)
    return [t.replace("-", "−") if float(t) else t.lstrip("-") for t in texts]


@pytest.mark.parametrize("place", [{}, {"layer": 1, "head": 2, "position": 2}])
def test_cells_worked_out(talk, place):
    """Each worked cell: the products' sum is what the next words say, and what the taps hold."""
    way, seen = inspect.walk(talk, TEXT, **place), tapped(talk)
    layer, head, here = way.layer, way.head, way.position
    q, k, z, qk = (seen[f"blocks.{layer}.attn.{name}"] for name in ("q", "k", "z", "qk"))
    pictures = way.steps[4].pictures
    sums = [p.values for p in pictures if getattr(p, "rows", ())[2:] == ("product",)]
    for left, right, product in sums:
        np.testing.assert_allclose(left * right, product, rtol=1e-6)
    (query, score, mixed) = (float(rows[2].sum()) for rows in sums)
    affine = talk.model.tensors()[f"h.{layer}.attn.c_attn.bias"]
    bias = affine[head * talk.hparams.d_k]
    np.testing.assert_allclose(query + bias, q[here, head, 0], atol=1e-5)
    key = int(seen[f"blocks.{layer}.attn.pattern"][head, here].argmax())
    np.testing.assert_allclose(score, q[here, head] @ k[key, head], atol=1e-5)
    np.testing.assert_allclose(score / talk.hparams.d_k**0.5, qk[head, here, key], atol=1e-5)
    np.testing.assert_allclose(mixed, z[here, head, 0], atol=1e-5)
    says = [p.lines[0] for p in pictures if getattr(p, "lines", ("",))[0].startswith("One cell")]
    numbers = q[here, head, 0], qk[head, here, key], z[here, head, 0]
    for text, value in zip(says, numbers, strict=True):
        assert written([value])[0] in text


def tapped(gpt):
    seen = {}

    def tap(name, value):
        seen[name] = np.array(value)[0]
        return value

    gpt.forward(gpt.encode(TEXT), tap=tap)
    return seen


def as_json(*options):
    return json.loads(run("walk", TEXT, "--json", "--model", "talk", *options))


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 2), (-1, -1)])
def test_printed_numbers_are_the_taps(talk, layer, head):
    text, seen = printed(talk, 200, layer=layer, head=head), tapped(talk)
    h = talk.hparams
    at = f"blocks.{layer % h.n_layer}"
    rows = [seen[f"{at}.attn.{name}"][:, head] for name in ("q", "k", "v", "z")]
    rows.append(seen[f"{at}.attn.pattern"][head])
    rows.append(seen[f"{at}.attn_out"])
    lines = [line.split() for line in text.splitlines()]
    rows = [row for array in rows for row in array]
    rows += [*seen["embed"], *seen["blocks.0.resid_pre"], *seen[f"{at}.ln1.out"]]
    rows += [*seen[f"{at}.attn.z"].reshape(4, -1), *seen[f"{at}.resid_post"]]
    for row in rows:
        assert written(row) in [line[1:] for line in lines]


def test_pattern_is_the_formula_s(talk):
    """softmax(q · kᵀ / √d_k) where no token sees a later one, by numpy alone."""
    values = as_json("--layer", "1", "--head", "2")["values"]
    q, k = (np.array(values[f"blocks.1.attn.{name}"])[:, 2] for name in "qk")
    scores = q @ k.T / np.sqrt(talk.hparams.d_k)
    scores[np.triu_indices(len(q), 1)] = -np.inf
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(values["blocks.1.attn.pattern"][2], shares, atol=1e-6)


def test_json_is_python_s(talk):
    found = as_json()
    out = talk.generate(TEXT, greedy=True)
    assert found == json.loads(json.dumps(inspect.walk(talk, TEXT).to_dict()))
    assert [step["token"] for step in found["predictions"]] == [step.token for step in out]
    assert [step["number"] for step in found["steps"]] == list(range(1, 13))
    assert {name for step in found["steps"] for name in step["values"]} == set(found["values"])
    assert found["generated"] == out.text
    assert found["reason"] == out.reason == "context window full"
    assert [token["id"] for token in found["tokens"]] == talk.encode(TEXT)
    np.testing.assert_array_equal(
        np.array(found["values"]["logits"], np.float32), tapped(talk)["logits"]
    )
    assert found["values"]["blocks.0.attn.scores"][0][0][1] is None  # JSON has no -∞


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_no_line_is_wider_than_the_terminal(talk, width):
    assert max(map(cell_len, printed(talk, width).splitlines())) <= width


def test_many_heads_and_a_long_text_fit_too(talk):
    from pellucid.backend import get_backend
    from pellucid.gpt import GPT
    from pellucid.hparams import HParams
    from pellucid.model import Model
    from pellucid.weights import initialise

    hparams = HParams(talk.hparams.n_vocab, 128, 24, 12, 12)
    model = Model.of(hparams, initialise(hparams, 0, "float32"), get_backend())
    large = GPT(model, talk.tokenizer)
    for width in (40, 80, 120):
        for place in (0, 9, -1):
            text = printed(large, width, " power clap" * 15, layer=7, head=11, position=place)
            assert max(map(cell_len, text.splitlines())) <= width
            assert len(text.splitlines()) < 700


def test_ends_with_the_text_and_the_reason(talk):
    text = printed(talk)
    assert "context window full" in text
    assert text.rstrip().endswith(TEXT + talk.generate(TEXT, greedy=True).text)
    assert "ends: as many tokens as asked for" in printed(talk, max_tokens=1)
    assert "ends: stop token" in printed(talk, text="The crowd")


@pytest.mark.parametrize(("place", "size"), [("layer", 2), ("head", 3), ("position", 4)])
def test_refuses_a_place_that_is_not_there(talk, place, size):
    for wrong in (size, -size - 1):
        with pytest.raises(InputError, match=f"^{place} must be between {-size} and {size - 1}"):
            printed(talk, **{place: wrong})


def test_refuses_before_it_computes(monkeypatch, tmp_path):
    from pellucid.gpt import GPT

    def never(*_, **__):
        raise AssertionError("it ran")

    monkeypatch.setattr(GPT, "forward", never)
    path = tmp_path / "page.html"
    for place in ("--layer", "--head", "--position"):
        for more in ([], ["--json"], ["--html", str(path)]):
            with pytest.raises(InputError, match=f"{place[2:]} must be between"):
                run("walk", TEXT, place, "99", "--model", "talk", *more)
    assert not path.exists()


def test_pictures_are_the_inspections(talk):
    walked = printed(talk, 80, layer=1, head=2, position=2)
    ids = talk.encode(TEXT)
    for sections in (
        inspect.attention(talk, ids, layers=1).sections(position=2),
        inspect.residual_norms(talk, ids).sections(),
        inspect.logit_lens(talk, ids).sections(),
    ):
        for picture in (picture for section in sections for picture in section.pictures):
            assert screen.printed(Drawing(picture), 80) in walked


def test_one_pass_and_one_generation(talk, monkeypatch):
    """Of the whole model: the pictures are made of what that pass recorded."""
    passes = []
    forward = type(talk).forward
    monkeypatch.setattr(type(talk), "forward", lambda *a, **k: passes.append(a) or forward(*a, **k))
    inspect.walk(talk, TEXT)
    assert len(passes) == 1


def test_html_is_the_walk_s_page(talk, tmp_path):
    path = tmp_path / "page.html"
    run("walk", TEXT, "--html", path, "--model", "talk")
    way = inspect.walk(talk, TEXT)
    written = inspect.walk_page(talk, way, title=TEXT)
    assert path.read_text(encoding="utf-8") == written


def test_mistakes_exit_2():
    done = process("walk", "--head", "99", env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 2
    assert done.stderr.startswith("Error: head must be between")
    assert "Traceback" not in done.stderr


def test_probabilities_are_the_softmax_of_the_logits(talk):
    logits = tapped(talk)["logits"][-1].astype(np.float64)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    lines = [line.split() for line in printed(talk).splitlines()]
    for token in np.argsort(-shares)[:8]:
        name = talk.tokenizer.decode([int(token)]).strip()
        row = next(line for line in lines if line[:1] == [f"␣{name}"] and "%" in line[1])
        assert row[1] == percent(float(shares[token]))


def test_says_which_positions_are_left_out(talk):
    assert "(3 of these 4 positions; a wider terminal has" in " ".join(printed(talk, 40).split())
    assert "of these" not in printed(talk, 100).replace("the sum of these", "")


def test_words_fit_what_they_count(chat):
    """One product is no sum; an end that was asked for is named; a long text loses whole tokens."""
    ids = chat.encode("one")
    alone = screen.printed(inspect.walk(chat, ids[:1], max_tokens=1), 80)
    assert "the first number of z of “one” is this product: " in " ".join(alone.split())
    way = inspect.walk(chat, "Once there was a dog" * 4, max_tokens=1)
    assert "It ends: as many tokens as asked for (" in way.steps[-1].words[1]
    (table,) = way.steps[10].pictures
    assert way.reason == "length"
    assert all(row[0].startswith("…") and len(row[0]) <= 26 for row in table.rows)
    assert table.rows[0][0][1:].split()[0] in {"Once", "there", "was", "a", "dogOnce"}


def test_the_stop_tokens_are_those_that_end_a_text_of_the_model(talk):
    """An ordinary token of its files ends it too, and then the special ones do not."""
    roles = Roles(eos=(3, 70))
    ended = GPT(talk.model, talk.tokenizer, template=talk.template, name="ended", roles=roles)
    (words, _) = inspect.walk(ended, TEXT).steps[-1].words
    names = [ended.tokenizer.piece(token).shown for token in (3, 70)]
    assert words.endswith(f"its stop tokens are {', '.join(names)}.")
    assert "<|endoftext|>" in inspect.walk(talk, TEXT).steps[-1].words[0]
    many = Roles(eos=tuple(range(20)))
    ended = GPT(talk.model, talk.tokenizer, name="many", roles=many)
    assert inspect.walk(ended, TEXT).steps[-1].words[0].endswith(" and 8 more.")
