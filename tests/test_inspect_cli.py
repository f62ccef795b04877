"""Every question as a verb: JSON equal to Python's answer, pictures, files, mistakes."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pellucid import inspect
from pellucid.backend import get_backend
from pellucid.chat import Conversation
from pellucid.cli import SECTIONS, VERBS
from pellucid.errors import InputError
from pellucid.gpt import GPT
from pellucid.model import Model
from pellucid.weights import initialise, unflatten
from support import program
from support.circuits import random_gpt
from support.skips import only_with

TEXT = "The power clapper went straight to"
SHORT = "The power"


run = partial(program.run, width=80)


# verb and arguments -> the same question in Python
QUESTIONS = {
    ("trace", SHORT, "--names", "attn.*", "--layer", "-1", "--head", "0,2"): lambda g: (
        inspect.trace(g, SHORT, "attn.*", layers=[-1], heads=[0, 2])
    ),
    ("trace", SHORT, "--cost"): lambda g: inspect.estimate(g, SHORT),
    ("lens", TEXT, "--position", "0,2-3", "--top", "3"): lambda g: inspect.logit_lens(
        g, TEXT, positions=[0, 2, 3], k=3
    ),
    ("attribute", TEXT, "--target", " jail", "--versus", " court"): lambda g: inspect.attribute(
        g, TEXT, " jail", versus=" court"
    ),
    ("attribute", TEXT, "--target", "#3", "--position", "-2"): lambda g: inspect.attribute(
        g, TEXT, 3, position=-2
    ),
    ("attention", TEXT, "--layer", "1", "--head", "0"): lambda g: inspect.attention(
        g, TEXT, layers=1, heads=0
    ),
    ("heads", "--threshold", "0.2"): lambda g: inspect.head_labels(g, threshold=0.2),
    ("neighbours", " jail", "--top", "4", "--by", "dot"): lambda g: inspect.neighbours(
        g, " jail", 4, by="dot"
    ),
    ("why", TEXT, " jail"): lambda g: inspect.why(g, TEXT, " jail"),
    ("compare", SHORT, "--head", "1.0", "--token", "1,2", "--times", "0.5", "--greedy"): (
        lambda g: inspect.compare(
            g,
            SHORT,
            [
                inspect.Intervention(name="attn.z", layer=1, head=0, op="scale", value=0.5),
                inspect.Intervention(name="embed", position=[1, 2], op="scale", value=0.5),
            ],
            greedy=True,
        )
    ),
    ("compare", SHORT, "--mlp", "0", "--source", "The king went", "--greedy"): lambda g: (
        inspect.compare(
            g,
            SHORT,
            [inspect.Intervention(name="mlp_out", layer=0, op="patch", source="The king went")],
            greedy=True,
        )
    ),
    ("ablate", TEXT, "--head", "1.-1", "--mlp", "0", "--how", "mean"): lambda g: inspect.ablate(
        g, TEXT, heads=[(1, -1)], mlps=[0], how="mean"
    ),
    ("ablate", SHORT, "--all-heads", "--token", "0"): lambda g: inspect.ablate(
        g, SHORT, heads=np.ndindex(2, 3), positions=[0]
    ),
    ("sweep", TEXT, "--over", "positions", "--how", "mean"): lambda g: inspect.ablate_each(
        g, TEXT, "positions", how="mean"
    ),
    ("patch", "The power", "The king", "--over", "heads"): lambda g: inspect.patch_each(
        g, "The power", "The king", "heads"
    ),
    ("steer", SHORT, "--towards", " king", "--layer", "-1", "--strength", "2", "--greedy"): (
        lambda g: inspect.steered(
            g, SHORT, towards=" king", layer=-1, strength=2, max_tokens=40, greedy=True
        )
    ),
}
WITH_TORCH = {
    ("gradients", TEXT): lambda g: inspect.gradient_times_input(g, TEXT),
    ("gradients", TEXT, "--integrated", "--steps", "8"): lambda g: inspect.integrated_gradients(
        g, TEXT, steps=8
    ),
}
EVERY_QUESTION = [
    *QUESTIONS, *(pytest.param(each, marks=only_with("torch")) for each in WITH_TORCH)
]  # fmt: skip


@pytest.mark.parametrize("arguments", EVERY_QUESTION, ids=" ".join)
def test_json_is_pythons_answer_and_the_picture_names_it(talk, arguments):
    found = json.loads(run(*arguments, "--model", "talk", "--json"))
    assert found == json.loads(json.dumps((QUESTIONS | WITH_TORCH)[arguments](talk).to_dict()))
    assert len(run(*arguments, "--model", "talk").splitlines()) > 1


def test_every_question_has_a_verb_and_help_shows_it():
    asked = {arguments[0] for arguments in QUESTIONS | WITH_TORCH}
    looking = [*SECTIONS["Ask why"], *SECTIONS["Change and watch"], *SECTIONS["See inside"]]
    assert asked == set(looking) - {"walk", "tokens", "view", "lineage"}
    printed = run("--help")
    for verb in VERBS:
        assert f"\n  {verb} " in printed


def test_standard_input(talk):
    assert run("lens", "-", "--model", "talk", text=TEXT) == run("lens", TEXT, "--model", "talk")


def test_why_says_it_in_sentences(talk):
    printed = " ".join(run("why", TEXT, " jail", "--model", "talk").split())
    for sentence in inspect.why(talk, TEXT, " jail").sentences:
        assert sentence in printed


def test_html(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("what was there")
    printed = run("lens", TEXT, "--model", "talk", "--html", str(path))
    assert printed == run("lens", TEXT, "--model", "talk")
    whole = path.read_text(encoding="utf-8")
    assert whole.lower().startswith("<!doctype html>")
    assert "</html>" in whole
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


VIEWS = [("walk", SHORT), ("view", SHORT)]


@pytest.mark.parametrize("arguments", [*EVERY_QUESTION, *VIEWS], ids=" ".join)
def test_every_verb_writes_one_page_that_fetches_nothing(arguments, tmp_path):
    path = tmp_path / "page.html"
    run(*arguments, "--model", "talk", "--html", str(path))
    whole = path.read_text(encoding="utf-8")
    assert whole.startswith("<!DOCTYPE html>")
    assert whole.rstrip().endswith("</html>")
    assert "default-src 'none'" in whole
    assert '"subtitle":"model talk, 8,076 parameters' in whole
    assert "http" not in whole.replace('http-equiv="Content-Security-Policy"', "")
    assert not re.search(
        r"<(link|img|iframe|object|embed)\b|<script[^>]* src=|@import|url\(", whole
    )
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_page_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    from pellucid.draw import document

    write = Path.write_bytes

    def full(path, content):
        write(path, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(document, "document", lambda *_, **names: "<!doctype html>")
    monkeypatch.setattr(Path, "write_bytes", full)
    path = tmp_path / "page.html"
    path.write_text("what was there")
    with pytest.raises(InputError, match="No space left"):
        run("lens", TEXT, "--model", "talk", "--html", str(path))
    assert path.read_text() == "what was there"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lens", ""), "empty"),
        (("lens", TEXT, "--position", "9"), "no position 9"),
        (("lens", TEXT, "--position", "a"), "'a' is no number"),
        (("lens", TEXT, "--position", "3-1"), "backwards"),
        (("attention", TEXT, "--layer", "2"), "no layer 2"),
        (("attribute", TEXT, "--target", "power clapper"), "name one token"),
        (("ablate", TEXT), "say what to switch off"),
        (("ablate", TEXT, "--head", "1"), "write 3.7"),
        (("ablate", TEXT, "--head", "5.0"), "no layer 5"),
        (("patch", "The", "The power"), "1 and 2 tokens"),
        (("steer", TEXT), "towards"),
        (("trace", TEXT, "--names", "nonsense"), "no value is called"),
        (("trace", TEXT, "--budget", "1k"), "more than the budget of 1.0 KiB"),
        (("trace", TEXT, "--budget", "much"), "is no size"),
        (("trace", TEXT, "--save", "/no/such/folder/x"), "cannot write"),
        (("neighbours", "power clapper"), "name one token"),
        (("generate", "The", "--names", "embed"), "--record"),
        (("generate", "The", "--record", "/no/such/folder/x"), "cannot write"),
        (("generate", "The", "--record", "/"), "is a directory"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, said, capsys, monkeypatch):
    from pellucid.cli import main

    monkeypatch.setattr(sys, "argv", ["pellucid", *arguments, "--model", "talk"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("Error: ") == 1
    assert printed.out == ""


def test_without_torch_gradients_say_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pellucid.cli import main\n"
        "sys.argv = ['pellucid', 'gradients', 'The power', '--model', 'talk', '--integrated']\n"
        "main()"
    )
    done = program.python(code)
    assert done.returncode == 2
    assert 'pip install "pellucid[torch]"' in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


# Recording a generation


def same(found, whole, n_prompt, rtol=1e-4, atol=1e-5):
    """found: of a generation; whole: of one pass over its text."""
    assert list(found) == list(whole)
    at = list(found.positions)
    for name in whole:
        axes = whole.axes(name)
        axis = next(i for i, each in enumerate(axes) if each in ("position", "query"))
        rows = [i for i in at if i >= n_prompt - 1] if name == "logits" else at
        expected = whole[name].take(rows, axis)
        if name.endswith("qk"):
            expected = np.where(np.isnan(found[name]), np.nan, expected)
        np.testing.assert_allclose(found[name], expected, rtol=rtol, atol=atol, err_msg=name)


def test_a_recorded_generation_equals_one_pass_over_its_text():
    gpt = random_gpt()
    recorder = inspect.Recorder(gpt)
    made = gpt.generate("abcd", max_tokens=8, greedy=True, record=recorder)
    plain = gpt.generate("abcd", max_tokens=8, greedy=True)
    assert made.tokens[:4] == plain.tokens[:4]
    assert made.text == plain.text
    found = recorder.trace(made)
    assert found.positions == tuple(range(11))
    same(found, inspect.trace(gpt, made.tokens[:-1]), 4, rtol=1e-3, atol=1e-4)
    # The first pass is the very same computation.
    first = inspect.trace(gpt, "abcd")
    name = "blocks.2.resid_post"
    np.testing.assert_array_equal(found[name][:4], first[name])


def test_recording_in_float64_is_exact_and_positions_count_in_the_window():
    gpt = random_gpt("float64")
    recorder = inspect.Recorder(gpt, ["*"], layers=[0, -1], heads=[1], positions=[1, 3, 5, 8])
    made = gpt.generate("abcd", max_tokens=8, greedy=True, record=recorder)
    found = recorder.trace(made) if made.text else None
    assert found is not None
    assert found.positions == (1, 3, 5, 8)
    whole = inspect.trace(gpt, made.tokens[:-1], layers=[0, -1], heads=[1])
    same(found, whole, 4, rtol=1e-9, atol=1e-9)
    newest = inspect.Recorder(gpt, ["resid_post", "logits"], positions=-1)
    made = gpt.generate("abcd", max_tokens=4, greedy=True, record=newest)
    assert made.text
    assert newest.trace(made).positions == (3, 4, 5, 6)
    assert newest.trace(made)["logits"].shape == (4, 16)


def test_the_tap_comes_before_the_record():
    gpt = random_gpt()
    recorder = inspect.Recorder(gpt, ["blocks.1.mlp_out", "blocks.2.resid_pre"])
    tap = inspect.ablation(gpt, mlps=[1])
    made = gpt.generate("abc", max_tokens=3, greedy=True, tap=tap, record=recorder)
    assert made.text == gpt.generate("abc", max_tokens=3, greedy=True, tap=tap).text
    assert not recorder.trace(made)["blocks.1.mlp_out"].any()


@pytest.mark.parametrize("positions", [None, [0, 2, 7], -1])
def test_a_generation_over_the_budget_is_refused_before_anything_runs(positions):
    gpt = random_gpt()
    chosen = {"names": ["attn.pattern", "logits", "resid_post"], "positions": positions}
    recorder = inspect.Recorder(gpt, **chosen)
    made = gpt.generate("abcd", max_tokens=6, greedy=True, record=recorder)
    assert made.text
    taken = recorder.trace(made).n_bytes
    assert recorder.cost(0, 4, 10).n_bytes == taken

    def never(name, value):
        raise AssertionError("it ran")

    enough = inspect.Recorder(gpt, **chosen, budget_bytes=taken)
    assert gpt.generate("abcd", max_tokens=6, greedy=True, record=enough).text == made.text
    small = inspect.Recorder(gpt, **chosen, budget_bytes=taken - 1)
    with pytest.raises(InputError, match="more than the budget"):
        gpt.generate("abcd", max_tokens=6, greedy=True, tap=never, record=small)


def test_a_recorded_generation_that_was_interrupted_goes_on():
    gpt = random_gpt("float64")
    recorder = inspect.Recorder(gpt)
    calls = 0

    def tap(name, value):
        nonlocal calls
        calls += name == "blocks.1.mlp_out"
        if name == "blocks.1.mlp_out" and calls in (1, 4):
            raise KeyboardInterrupt
        return value

    made = gpt.generate("abcd", max_tokens=6, greedy=True, tap=tap, record=recorder)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            list(made)
    n = len(made.tokens)
    assert recorder.trace(made).positions == tuple(range(n - 1))  # the broken pass is left out
    assert made.text == gpt.generate("abcd", max_tokens=6, greedy=True).text
    whole = inspect.trace(gpt, made.tokens[:-1])
    same(recorder.trace(made), whole, 4, rtol=1e-9, atol=1e-9)
    assert recorder.n_bytes == sum(v.nbytes for one in recorder.passes for v in one.values())


def test_recording_and_steering_a_conversation(talk):
    hparams = replace(talk.hparams, n_ctx=96, n_embd=16, n_head=2)
    tensors = {n: v * 8 for n, v in initialise(hparams, 3, "float64").items()}
    backend = get_backend(dtype="float64", threads=1)
    arrays = {name: backend.asarray(value) for name, value in tensors.items()}
    talker = GPT(Model(hparams, unflatten(arrays, hparams), backend), talk.tokenizer)
    recorder = inspect.Recorder(talker, ["resid_post", "attn.pattern"])
    talk = Conversation(talker, "plain", greedy=True, max_tokens=3, record=recorder)
    for said in (TEXT, " and"):
        reply = talk.say(said)
        assert reply.text is not None
        found = recorder.trace(reply)
        whole = inspect.trace(talker, reply.tokens[:-1], ["resid_post", "attn.pattern"])
        same(found, whole, 0, rtol=1e-9, atol=1e-9)
    assert found.positions[0] > 3  # the first turn was known
    assert found.positions[-1] == len(reply.tokens) - 2

    talk.record = None
    vector = inspect.direction(talker, " king", " jail", 1)
    talk.tap = inspect.steer(talker, vector, 1, strength=5)
    steered = talk.retry()
    fresh = talker.generate(steered.prompt, greedy=True, max_tokens=3, tap=talk.tap)
    assert [s.logprob for s in steered.steps] == pytest.approx([s.logprob for s in fresh.steps])
    plain = [s.logprob for s in reply.steps]
    assert [s.logprob for s in steered.steps] != pytest.approx(plain)
    talk.tap = None
    assert [s.logprob for s in talk.retry().steps] == pytest.approx(plain)


def test_generate_records_to_a_file_that_trace_shows(talk, tmp_path):
    path = tmp_path / "values.safetensors"
    asked = ("--greedy", "--model", "talk")
    printed = run("generate", SHORT, *asked, "--record", str(path), "--names", "attn.pattern")
    assert printed == run("generate", SHORT, *asked)
    found = inspect.Trace.load(path)
    made = talk.generate(SHORT, greedy=True)
    assert made.text
    assert found.ids == made.tokens
    whole = inspect.trace(talk, made.tokens[:-1], "attn.pattern")
    same(found, whole, 2)
    shown = json.loads(run("trace", str(path), "--layer", "1", "--head", "-1", "--json"))
    (values,) = shown["arrays"].values()
    np.testing.assert_allclose(values, whole["blocks.1.attn.pattern"][[2]], atol=1e-5)
    assert shown["heads"] == [2]
    assert "blocks.0.attn.pattern" in run("trace", str(path))
    with pytest.raises(InputError, match="none of these"):
        run("trace", str(path), "--names", "mlp.pre")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_saving_a_trace(talk, tmp_path):
    path = tmp_path / "one.safetensors"
    run("trace", TEXT, "--model", "talk", "--save", str(path), "--position", "-1")
    found = inspect.Trace.load(path)
    whole = inspect.trace(talk, TEXT, positions=-1)
    np.testing.assert_array_equal(found["logits"], whole["logits"])


def test_what_was_recorded_until_ctrl_c_is_kept(tmp_path):
    path = tmp_path / "values.safetensors"
    arguments = ("generate", SHORT, "--greedy", "--model", "talk", "--record", path)
    done = program.interrupted(*arguments, steps=2)
    assert done.returncode == 130
    assert len(inspect.Trace.load(path).ids) == 4
