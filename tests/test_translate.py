"""A text written as another: by Python, on the command line, and what is shown of it."""

from __future__ import annotations

import io
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import pellucid
from pellucid import checkpoint, embedded, inspect
from pellucid.checkpoint import Roles
from pellucid.draw.document import document
from pellucid.draw.terminal import Drawing
from pellucid.errors import CheckpointError, ContextError, InputError
from pellucid.taps import tap_names
from support.paper import Theirs, translator
from support.program import invoke, run
from support.skips import BACKENDS, needs

ROOT = Path(__file__).parents[1]
TEXT = "two hundred and six"


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize("beams", [1, 3])
def test_what_beam_search_scores_is_what_one_pass_of_torchs_layers_says(beams: int) -> None:
    """Token by token with a cache whose rows move, held against all at once without one."""
    needs("torch")
    tiny, tensors = translator()
    theirs = Theirs(tiny.hparams, tensors)
    made = tiny.translate(TEXT, beams=beams, max_tokens=9)
    assert 1 <= len(made.search.best) <= beams * 9
    for found in made.search.best[:3]:
        written = np.array([[tiny.begin, *found.tokens[:-1]]])
        logits = theirs.forward(np.array([made.source_ids]), written)["logits"][0]
        each = log_softmax(logits)[range(len(found.tokens)), list(found.tokens)]
        assert found.logprob == pytest.approx(each.sum(), abs=1e-9)
        assert found.score == pytest.approx(each.sum() / ((5 + len(each)) / 6) ** 0.6, abs=1e-9)
        if beams == 1:
            assert found.tokens == tuple(logits.argmax(-1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backends_write_the_same(backend: str) -> None:
    expected = translator(1)[0].translate(TEXT, max_tokens=8)
    made = translator(1, backend, "float32")[0].translate(TEXT, max_tokens=8)
    assert made.ids == expected.ids
    assert made.logprob == pytest.approx(expected.logprob, abs=1e-3)


def test_what_does_not_fit_is_refused() -> None:
    tiny, _ = translator()
    with pytest.raises(InputError, match="is empty"):
        tiny.translate("")
    with pytest.raises(ContextError, match="reads at most n_ctx = 24"):
        tiny.translate("x" * 30)
    assert len(tiny.translate("x", max_tokens=100).ids) <= 24


# Kept and loaded


def test_it_is_kept_in_pellucids_own_folder_alone(tmp_path: Path) -> None:
    tiny, tensors = translator()
    roles = Roles(bos=tiny.begin, eos=(tiny.end,))
    kept = {"hparams": tiny.hparams, "tensors": tensors, "tokenizer": tiny.tokenizer}
    folder = checkpoint.save(tmp_path / "tiny", roles=roles, **kept)
    again = pellucid.load_translator(folder, dtype="float64")
    assert again.translate(TEXT, max_tokens=6).ids == tiny.translate(TEXT, max_tokens=6).ids
    assert checkpoint.family_name(folder) == "transformer"
    for format in ("hf", "gguf"):
        with pytest.raises(InputError, match=f"format pellucid alone, not {format}"):
            checkpoint.save(tmp_path / "other", format=format, roles=roles, **kept)
    done = invoke("convert", folder, tmp_path / "other", "--format", "hf")
    assert "pellucid alone" in str(done.exception)
    checkpoint.save(tmp_path / "mute", **kept)
    with pytest.raises(CheckpointError, match="roles: bos, eos"):
        pellucid.load_translator(tmp_path / "mute")


def test_each_kind_of_model_says_who_takes_it() -> None:
    with pytest.raises(InputError, match=r"pellucid\.load_translator"):
        pellucid.load("digits")
    with pytest.raises(InputError, match=r"goes on from a text: pellucid\.load"):
        pellucid.load_translator("talk")
    assert checkpoint.family_name("digits") == "transformer"
    assert checkpoint.family_name(None) == checkpoint.family_name("talk") == "gpt2"
    assert checkpoint.family_name("no/such/model") is None


# The one that ships


def test_the_embedded_one_writes_what_was_held_out() -> None:
    """A part of what its card says of all; none of it is among the pairs to learn from."""
    recipe = runpy.run_path(str(ROOT / "recipes" / "digits" / "pairs.py"))
    digits = pellucid.load_translator("digits")
    draw = recipe["pairs"](seed=7)
    held_out = []
    while len(held_out) < 60:
        pair = next(draw)
        if recipe["is_held_out"](pair[1]):
            held_out.append(pair)
    wrong = [(source, target) for source, target in held_out if write(digits, source) != target]
    assert len(wrong) <= 1, wrong
    assert digits.card["exact_beams_4"] > 0.99
    assert digits.card["held_out"] >= 5000
    assert digits.hparams.n_params == digits.card["parameters"]
    size = sum(path.stat().st_size for path in (embedded.FOLDER / "digits").iterdir())
    assert size <= 1_000_000


def write(digits: pellucid.Translator, text: str) -> str:
    return digits.translate(text).text


def test_the_pairs_are_right() -> None:
    """The recipe's words read by other rules than those they were made by."""
    recipe = runpy.run_path(str(ROOT / "recipes" / "digits" / "pairs.py"))
    draw, values = recipe["pairs"](seed=3), dict[str, int]()
    for i, word in enumerate([*recipe["UNITS"], "a"]):
        values[word] = i if word != "a" else 1
    values |= {word: 10 * i for i, word in enumerate(recipe["TENS"]) if word}
    n = 0
    for source, target in (next(draw) for _ in range(600)):
        if "-" in target:
            continue
        total = part = 0
        for word in source.lower().replace("-", " ").replace(",", "").split():
            if word == "hundred":
                part *= 100
            elif word in ("thousand", "million"):
                total, part = total + part * (1000 if word == "thousand" else 1_000_000), 0
            elif word != "and":
                part += values[word]
        assert total + part == int(target), source
        n += 1
    assert n > 200


# What is shown


def test_the_walks_numbers_are_those_of_torchs_layers() -> None:
    needs("torch")
    tiny, tensors = translator()
    made = tiny.translate(TEXT, max_tokens=7)
    way = inspect.walk_translation(tiny, TEXT, translation=made, layer=-1)
    written = [[tiny.begin, *made.ids[:-1]]]
    expected = Theirs(tiny.hparams, tensors).forward(np.array([made.source_ids]), np.array(written))
    assert set(way.values) == set(tap_names(tiny.hparams))
    for name, value in expected.items():
        if name != "memory":
            np.testing.assert_allclose(way.values[name], value[0], rtol=0, atol=1e-10)
    shares = np.exp(log_softmax(expected["logits"][0]))
    for i, token in enumerate(made.ids):
        name, share = way.likeliest[i][0]
        assert name == way.written_tokens[i]
        assert share == pytest.approx(shares[i, token], abs=1e-10)
    assert (way.layer, way.source_tokens[-1], way.read_tokens[0]) == (
        1, "<|endoftext|>", "<|begin|>",
    )  # fmt: skip
    with pytest.raises(InputError, match="no head 2"):
        inspect.walk_translation(tiny, TEXT, head=2)


def test_every_cross_attention_is_drawn() -> None:
    tiny, _ = translator()
    way = inspect.walk_translation(tiny, TEXT, max_tokens=5)
    pictures = [p for section in way.sections() for p in section.pictures]
    tabs = [picture for picture in pictures if picture.to_dict()["type"] == "tabs"]
    assert [len(each.pictures) for each in tabs] == [4, 4, 4]  # encoder, decoder, cross
    cross = tabs[2]
    for i in range(2):
        for head in range(2):
            drawn = cross.pictures[f"layer {i}, head {head}"]
            pattern = way.values[f"decoder.blocks.{i}.cross.pattern"][head]
            np.testing.assert_array_equal(drawn.values, pattern)
            assert (drawn.rows, drawn.columns) == (way.read_tokens, way.source_tokens)
    assert len(cross.unfolded) == 4
    screen = io.StringIO()
    Console(width=80, file=screen).print(Drawing(way.sections()))
    told = screen.getvalue()
    assert all(f"decoder, cross: layer {i}, head {j}" in told for i in (0, 1) for j in (0, 1))
    page = document(way.sections(), title="x")
    assert page.count("decoder, cross: layer") == 4
    json.dumps(way.to_dict(), allow_nan=False)


# The command line


def test_it_writes_line_by_line() -> None:
    assert run("generate", TEXT, "--model", "digits") == "206\n"
    lines = "forty-two\nthe 3rd of May, 1997\n"
    assert run("generate", "-", "--model", "digits", text=lines) == "42\n1997-05-03\n"
    told = json.loads(run("generate", TEXT, "--model", "digits", "--json", "--beams", "3"))
    assert told["text"] == "206"
    assert told["ended"]
    assert told["beams"][0]["text"] == "206"
    assert told["beams"][0]["score"] == max(each["score"] for each in told["beams"])
    short = run("generate", TEXT, "--model", "digits", "--max-tokens", "2", "--beams", "1")
    assert short == "20\n"


def test_walk_shows_it_too(tmp_path: Path) -> None:
    told = run("walk", "--model", "digits", "--html", tmp_path / "w.html", width=80)
    assert "Cross-attention" in told
    assert "1997-05-03" in told  # its card's example
    assert "Cross-attention" in (tmp_path / "w.html").read_text("utf-8")
    known = json.loads(run("walk", TEXT, "--model", "digits", "--json"))
    assert known["kind"] == "TranslationWalk"
    assert known["steps"][-1][0]["text"] == "206"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("generate", TEXT, "--model", "digits", "--temperature", "0.5"), "--temperature does not"),
        (("generate", TEXT, "--model", "talk", "--beams", "2"), "--beams is for a model"),
        (("generate", "", "--model", "digits"), "is empty"),
        (("walk", TEXT, "--model", "digits", "--step"), "--step does not fit digits"),
        (("walk", TEXT, "--model", "digits", "--layer", "5"), "no layer 5"),
        *(
            ((verb, *more, "--model", "digits"), "neither goes on from a text nor holds")
            for verb, *more in (
                ("chat",), ("trace", TEXT), ("lens", TEXT), ("attention", TEXT),
                ("eval", str(ROOT / "README.md")),
            )
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_so(words: tuple[str, ...], told: str) -> None:
    done = invoke(*words)
    assert done.exit_code != 0
    assert told in done.output + str(done.exception)
