"""The command line: what it prints, and that a mistake is one line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pellucid.cli import pellucid


def run(*arguments, text=None):
    """Exit code 0 and what was printed."""
    result = CliRunner().invoke(pellucid, arguments, input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def process(*arguments, text=""):
    return subprocess.run(
        [sys.executable, "-c", "from pellucid.cli import main; main()", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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


@pytest.mark.parametrize("form", ["pellucid", "hf"])
def test_convert_keeps_the_model(tmp_path, form):
    target = tmp_path / "copy"
    run("convert", "talk", str(target), "--format", form)
    asked = ("generate", "The power", "--greedy", "--seed", "1", "--json")
    assert run(*asked, "--model", str(target)) == run(*asked, "--model", "talk")
    refused = CliRunner().invoke(pellucid, ["convert", "talk", str(target), "--format", form])
    assert refused.exit_code == 2
    assert "--force" in refused.output
    run("convert", "talk", str(target), "--format", form, "--force")


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "The", "--n-ctx", "9", "--model", "talk"),
        ("generate", "The", "--top-p", "2"),
        ("generate", "The power clapper went straight to jail and on and on", "-m", "talk"),
        ("generate", "The", "--model", "/no/such/folder"),
        ("tokens", "The", "--model", "/no/such/folder"),
        ("nonsense",),
    ],
)
def test_a_mistake_is_said_without_a_traceback(arguments):
    done = process(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_interrupt_keeps_what_was_printed():
    code = (
        "from pellucid.sequence import Sequence\n"
        "whole = Sequence.take\n"
        "def take(self, logits):\n"
        "    if len(self.steps) == 2: raise KeyboardInterrupt\n"
        "    return whole(self, logits)\n"
        "Sequence.take = take\n"
        "from pellucid.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "generate", "The power", "--greedy", "-m", "talk"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130
    assert done.stdout.startswith("The power went out")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["tokens", "generate"])
def test_input_that_is_no_text_is_refused(verb: str) -> None:
    command = [sys.executable, "-m", "pellucid", verb, "-"]
    done = subprocess.run(command, input=b"a\xff", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"byte 0xff at 1" in done.stderr
    assert b"Traceback" not in done.stderr
