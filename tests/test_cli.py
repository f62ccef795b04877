"""The command line: what it prints, and that a mistake is one line and exit code 2."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from pellucid import checkpoint
from pellucid.cli import VERBS, output
from pellucid.cli.cards import print_card
from pellucid.cli.verbs import EXAMPLES
from pellucid.gpt import GPT
from pellucid.visible import harmless
from support.program import (
    PROGRAM,
    ended,
    in_turn,
    interrupted,
    invoke,
    process,
    run,
    terminal,
)
from support.screen import bare, screen, text_of
from support.skips import only_with

HOSTILE = "\x1b]0;title\x07 \x9b31m \u202e red"  # what a terminal would obey


def test_generate_streams_the_text():
    printed = run("generate", "The power clapper", "--greedy", "--max-tokens", "4")
    assert printed.startswith("The power clapper went")


def test_generate_json():
    lines = run("generate", "-", "--seed", "3", "--max-tokens", "3", "--json", text="The power\n")
    *steps, end = map(json.loads, lines.splitlines())
    assert set(steps[0]) == {"position", "token", "text", "logprob", "alternatives", "reason"}
    assert len(steps[0]["alternatives"]) == 5
    assert "".join(step["text"] for step in steps) == end["text"]
    assert end["prompt"] == "The power"
    assert end["seed"] == 3
    assert end["n_tokens"] == len(steps)
    assert steps[-1]["reason"] == end["reason"]


def test_tokens():
    table = json.loads(
        run("tokens", "The power clapper 🎉", "--merges", "--json", "--model", "talk")
    )
    parts = [bytes(token["bytes"]) for token in table["tokens"]]
    assert b"".join(parts).decode() == "The power clapper 🎉"
    assert parts[2:4] == [b" clap", b"per"]
    assert table["words"]
    printed = run("tokens", "🎉", "--merges", "--model", "talk")
    assert "⟨F0" in printed
    assert "\ufffd" not in printed


def test_models():
    table = json.loads(run("models", "--json"))
    assert "talk" in table["embedded"]
    assert table["sizes"]["gpt2"]["parameters"] == 124_439_808
    assert "124,439,808" in run("models")
    assert json.loads(run("models", "talk", "--json"))["n_ctx"] == 8
    assert "n_ctx: 8\n" in run("models", "talk")
    assert "parameters: 8,076\n" in run("models", "talk")
    shapes = run("models").partition("GiB of memory")[0]
    rows = {line.split()[0]: line.split() for line in shapes.splitlines() if line}
    for name in table["embedded"]:
        shape = json.loads(run("models", name, "--json"))
        assert rows[name][1] == f"{shape['parameters']:,}"
        assert rows[name][-1] == str(shape["n_layer"])
    assert "124,439,808" in run("models", width=60)


def test_a_card_breaks_no_word_in_a_terminal(monkeypatch):
    whole = run("models", "chat").split()
    shown = screen(40, colour=True)
    monkeypatch.setattr("pellucid.cli.cards.console", lambda: shown)
    print_card("chat", as_json=False)
    lines = bare(text_of(shown)).splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split() == whole


@pytest.mark.parametrize("form", ["pellucid", "hf"])
def test_convert_keeps_the_model(tmp_path, form):
    target = tmp_path / "copy"
    run("convert", "talk", str(target), "--format", form)
    asked = ("generate", "The power", "--greedy", "--seed", "1", "--json")
    assert run(*asked, "--model", str(target)) == run(*asked, "--model", "talk")
    refused = invoke("convert", "talk", target, "--format", form)
    assert refused.exit_code == 2
    assert "--force" in refused.output
    run("convert", "talk", str(target), "--format", form, "--force")


def test_a_mistake_is_said_without_a_traceback():
    asked = [
        ("generate", "The", "--n-ctx", "9", "--model", "talk"),
        ("generate", "The", "--top-p", "2"),
        ("generate", "The power clapper went straight to jail and on and on", "-m", "talk"),
        ("generate", "The", "--model", "/no/such/folder"),
        ("tokens", "The", "--model", "/no/such/folder"),
        ("nonsense",),
    ]
    for done in in_turn(asked):
        assert done.code == 2
        assert "Error: " in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_interrupt_keeps_what_was_printed():
    done = interrupted("generate", "The power", "--greedy", "-m", "talk", steps=2)
    assert done.returncode == 130
    assert done.stdout.startswith("The power went out")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["tokens", "generate"])
def test_input_that_is_no_text_is_refused(verb: str) -> None:
    done = process(verb, "-", input=b"a\xff", text=False)
    assert done.returncode == 2
    assert b"byte 0xff at 1" in done.stderr
    assert b"Traceback" not in done.stderr


# Sampling: a flag changes that one setting

CARD = {  # of the embedded chat model
    "temperature": 0.3,
    "top_k": 40,
    "top_p": 0.9,
    "frequency_penalty": 0.3,
}


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ([], {}),
        (["--temperature", "0.9"], {"temperature": 0.9}),
        (["--top-k", "3", "--seed", "5"], {"top_k": 3, "seed": 5}),
        (["--greedy"], {"greedy": True}),
        (["--no-greedy"], {"greedy": False}),
        (["--stop", "x", "--stop-token", "#7"], {"stop": ("x",), "stop_tokens": (7,)}),
        (["--stop-token", "<|user|>"], {"stop_tokens": (8189,)}),
    ],
)
@pytest.mark.parametrize("verb", ["generate", "steer"])
def test_a_flag_changes_one_setting(verb, flags, changed, monkeypatch):
    settings = {}
    whole = GPT.generate

    def generate(self, prompt, **arguments):
        settings.update(arguments)
        return whole(self, prompt, **{**arguments, "max_tokens": 0})

    monkeypatch.setattr(GPT, "generate", generate)
    run(verb, "The", *(["--towards", " a"] if verb == "steer" else []), *flags)
    for name in ("alternatives", "max_tokens", "tap"):
        settings.pop(name, None)
    if verb == "steer":
        changed = {"seed": 0, **changed}
    assert settings == CARD | changed


def test_drawing_overrides_a_greedy_card():
    from pellucid.sampling import recommended

    card = {"sampling": {"greedy": True, "repetition_penalty": 1.1}}
    assert recommended(card, {"temperature": 0.5}) == {"repetition_penalty": 1.1}
    assert recommended(card, {"seed": 1})["greedy"]


def test_help_says_where_defaults_come_from():
    for verb in ("chat", "generate", "steer"):
        printed = " ".join(run(verb, "--help").split())
        assert "(the model's own, else 1.0)" in printed


def test_special_tokens_in_a_prompt_and_as_a_stop():
    asked = ("generate", "<|user|>Hello<|end|><|assistant|>", "--seed", "1", "--json")
    *_, letters = map(json.loads, run(*asked, "--max-tokens", "1").splitlines())
    *steps, tokens = map(json.loads, run(*asked, "--special").splitlines())
    assert tokens["n_prompt"] < letters["n_prompt"]
    assert tokens["reason"] == "stop token"
    some = steps[2]["token"]
    *_, stopped = map(json.loads, run(*asked, "--special", "--stop-token", f"#{some}").splitlines())
    assert stopped["reason"] == "stop token"
    assert stopped["n_tokens"] <= 3


# What a terminal must not obey, and a pipe must get


def test_a_card_is_shown_and_never_obeyed(tmp_path):
    talk = checkpoint.load("talk")
    card = {"name": HOSTILE, HOSTILE: [HOSTILE], "data": {"a": {"b": HOSTILE}, "c": {HOSTILE: 1}}}
    checkpoint.save(tmp_path / "m", talk.hparams, talk.tensors, talk.tokenizer, card=card)
    for printed in (
        run("models", str(tmp_path / "m")),
        run("models", str(tmp_path / "m"), "--json"),
    ):
        assert harmless(printed) == printed
    assert json.loads(printed)["card"] == card


@pytest.fixture
def hostile(tmp_path):
    """Files whose names and rows a terminal would obey, and a model of that name."""
    folder = tmp_path / HOSTILE.replace("/", "")
    folder.mkdir()
    talk = checkpoint.load("talk")
    checkpoint.save(folder / "m", talk.hparams, talk.tensors, talk.tokenizer)
    blimp = {"sentence_good": "The power", "sentence_bad": "power The", "UID": HOSTILE}
    files = {
        "blimp.jsonl": json.dumps(blimp) + "\n" + json.dumps({**blimp, "sentence_bad": None}),
        "rows.jsonl": json.dumps({HOSTILE: 1}) + "\n" + '{"text": "The power clapper"}\n' * 20,
        "talk.jsonl": json.dumps({"messages": [{"role": HOSTILE, "content": "a"}]}),
        "text.txt": "The power clapper went straight to jail",
    }
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "blimp.jsonl", "--model", "m", "--skip-bad"),
        ("eval", "blimp.jsonl", "--model", "m", "--skip-bad", "--json"),
        ("eval", "rows.jsonl", "--model", "m", "--skip-bad"),
        ("eval", "text.txt", "--model", "m"),
        ("eval", "talk.jsonl", "--model", "m"),
        ("data", "rows.jsonl", "corpus", "--tokenizer", "m", "--skip-bad"),
        ("convert", "m", "other", "--format", "hf"),
        pytest.param(
            ("train", "text.txt", "--start", "m", "--out", "run", "--steps", "1", "--batch", "1",
             "--sample-every", "1", "--sample-prompt", HOSTILE, "--threads", "1"),
            marks=only_with("torch"),
        ),
        pytest.param(
            ("train", "text.txt", "--out", "run", "--dry-run"), marks=only_with("torch")
        ),
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[1]}",
)  # fmt: skip
def test_names_and_rows_are_shown_and_never_obeyed(hostile, arguments, no_pictures):
    """S1 in every verb that prints what stands in a file, or what it is called."""
    names = {path.name for path in hostile.iterdir()} | {"other", "corpus", "run"}
    asked = [str(hostile / each) if each in names else each for each in arguments]
    done = invoke(*asked)
    said = f"{done.output}{harmless(str(done.exception or ''))}"
    assert harmless(said) == said
    assert "title" in said


def test_all_that_is_printed_passes_one_function():
    """`say`, `note` and `console` of cli/output.py; what else prints is listed with its reason."""
    known = {
        "__init__.py": 1,  # a word of our own
        "copies.py": 1,  # an export: the bytes that a pipe asks for
        "lines.py": 2,  # a reply in a pipe: harmless, and the end of its line
        "output.py": 1,  # `say` itself
        "stream.py": 4,  # JSON that is escaped; the bytes that a pipe asks for
        "stepping.py": 2,  # a question of our own
    }
    folder = Path(output.__file__).parent
    found = {path.name: path.read_text().count("click.echo(") for path in folder.glob("*.py")}
    assert {name: n for name, n in found.items() if n} == known


def test_a_card_is_no_python():
    printed = run("models", "chat")
    assert "{" not in printed
    assert "  temperature: 0.3" in printed or "temperature: 0.3; top_k: 40" in printed


def test_a_pipe_gets_the_text_as_it_is():
    text = f"a\r\n\tb{HOSTILE}\x00"
    command = ("generate", "-", "--max-tokens", "0")
    done = process(*command, input=text.encode(), text=False, check=True)
    assert done.stdout == text.encode() + b"\n"
    as_json = process(*command, "--json", input=text.encode(), text=False, check=True)
    assert harmless(as_json.stdout.decode()) == as_json.stdout.decode()
    assert json.loads(as_json.stdout)["prompt"] == text


@only_with("POSIX", "pexpect")
@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", HOSTILE, "--max-tokens", "1"),
        ("tokens", HOSTILE, "--merges"),
        ("walk", HOSTILE, "--max-tokens", "1"),
        ("models", HOSTILE),
        ("lens", "a", "--model", HOSTILE),
        ("lens", "a", "-m", "talk", "--html", f"/no/{HOSTILE}/x"),
        (HOSTILE,),
    ],
    ids=lambda arguments: arguments[0][:4].strip("\x1b"),
)
def test_a_terminal_shows_what_it_would_obey(arguments):
    child = terminal(*arguments, NO_COLOR="1", TERM="dumb", timeout=60)
    ended(child)
    text = child.before.replace("\r\n", "\n")
    assert "title" in text
    assert harmless(text) == text


@only_with("POSIX", "pexpect")
def test_a_terminal_breaks_no_word():
    arguments = ("generate", "Once upon a time", "--max-tokens", "30", "--greedy")
    whole = run(*arguments).split()
    child = terminal(*arguments, NO_COLOR="1", dimensions=(40, 30), timeout=60)
    ended(child)
    lines = bare(child.before).split("[as many")[0].replace("\r\n", "\n").splitlines()
    assert all(len(line) <= 30 for line in lines)
    assert " ".join(lines).split() == whole


@only_with("POSIX", "pexpect")
def test_no_line_of_words_is_broken_by_the_terminal():
    asked = [
        ("walk", "a", "--model", "tlak"),  # an error
        ("generate", "a", "--temprature", "1"),  # a mistake on the command line
        ("models", "chat"),  # a card
    ]
    for arguments, done in zip(asked, in_turn(asked), strict=True):
        child = terminal(*arguments, NO_COLOR="1", dimensions=(40, 50), timeout=60)
        ended(child)
        text = bare(child.before).replace("\r", "")
        assert all(len(line) <= 50 for line in text.splitlines())
        assert text.split() == (done.stdout + done.stderr).split()


@only_with("POSIX", "pexpect")
def test_what_is_copied_whole_stays_one_line():
    child = terminal("tokens", "The power", "--json", "--model", "talk", dimensions=(40, 50))
    ended(child)
    assert json.loads(child.before)["tokens"]


@only_with("POSIX")
@pytest.mark.parametrize("more", [[], ["--json"], ["--record", "kept.safetensors"]])
def test_a_reader_that_leaves_ends_it_well(more, tmp_path):
    command = [*PROGRAM, "generate", "Once upon a time\n", *more]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as running:
        running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read().decode()
        assert running.wait(60) == 0, said
    assert "Error" not in said
    assert "Traceback" not in said
    assert (tmp_path / "kept.safetensors").exists() == ("--record" in more)


def test_a_reader_that_leaves_a_table_ends_it_well(tmp_path):
    command = [*PROGRAM, "tokens", "-", "-m", "talk"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        running.stdin.write(b"The power " * 9999)
        running.stdin.close()
        running.stdout.read(1)
        running.stdout.close()
        assert running.wait(60) == 0


# The nearest


UNKNOWN = {
    ("lenz",): "did you mean lens?",
    ("gen",): "did you mean generate?",
    ("neighbors",): "did you mean neighbours?",
    ("generate", "a", "--temprature", "1"): "--temperature",
    ("qqqq",): "pellucid --help lists them",
    ("neighbours", "jail", "--model", "talk"): "mind the space: ' jail' is another",
    ("walk", "a", "--model", "tlak"): "is talk meant?",
    ("why", "none.json", "--chat"): "there is no file none.json",
}


def test_what_is_unknown_names_the_nearest():
    for done, hint in zip(in_turn(list(UNKNOWN)), UNKNOWN.values(), strict=True):
        assert done.code == 2
        assert hint in done.stderr
        assert done.stderr.count("Error: ") == 1


@pytest.mark.parametrize("size", ["1..5", "much", ".", "", "1 PiB", "9" * 400, "-1"])
def test_no_size_is_a_mistake(size):
    done = invoke("trace", "a", "--budget", size)
    assert done.exit_code == 2
    assert "is no size" in done.output


# Examples


def test_every_verb_has_an_example():
    """They run in tests/test_docs_commands.py (the page docs/cli.md) and tests/test_machines.py."""
    assert list(EXAMPLES) == list(VERBS)
    for verb, example in EXAMPLES.items():
        assert re.match(rf"pellucid {verb}\b", example)
        assert example in run(verb, "--help")
