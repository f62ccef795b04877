"""Other machines: an encoding without our glyphs, a locale without UTF-8, a system that lacks what
Linux has. (`make lint` also checks the types as macOS and Windows have them: a call that they lack
is an error there.)"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pellucid.backend import get_backend
from pellucid.checkpoint import contents
from pellucid.cli import memory
from pellucid.session import editor
from support.program import process, python

ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "no UTF-8 mode": {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
}
TALK = ["--model", "talk"]
TEXT = "The power clapper"
COMMANDS = [
    ["--help"],
    ["talk"],
    ["walk", TEXT],
    ["models"],
    ["models", "talk"],
    ["tokens", "é → 🎉 \x1b[0m", *TALK, "--merges"],
    ["generate", TEXT, *TALK],
    ["view", TEXT, *TALK],
    ["lens", TEXT, *TALK],
    ["why", TEXT, *TALK],
    ["attention", TEXT, *TALK],
    ["attribute", TEXT, *TALK],
    ["sweep", TEXT, *TALK],
    ["neighbours", " power", *TALK],
]
# All in one process: each prints its exit code to standard error, where a traceback would come too.
DRIVER = """
import json, sys
from pellucid.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["pellucid", *arguments]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    print("exit code", code, arguments[0], file=sys.stderr)
"""


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_output_without_our_glyphs(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"COLUMNS": "100"} | ENCODINGS[name]
    commands = json.dumps(COMMANDS)
    plain = python(DRIVER, commands, env=environment, text=False, cwd=tmp_path)
    told = plain.stderr.decode("ascii", "replace").splitlines()
    codes = [line for line in told if line.startswith("exit code")]
    assert codes == [f"exit code 0 {command[0]}" for command in COMMANDS], told
    shown = plain.stdout.decode("cp1252" if name == "cp1252" else "utf-8")
    assert "The_" in shown or "_power" in shown  # ␣ elsewhere
    # The columns stay where they are: each line is as long as where every glyph can be printed.
    glyphs = python(
        DRIVER, commands, env=environment | {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8", cwd=tmp_path,
    )  # fmt: skip
    assert "␣" in glyphs.stdout
    assert [len(line) for line in shown.splitlines()] == [
        len(line) for line in glyphs.stdout.splitlines()
    ]


@pytest.mark.parametrize("name", ENCODINGS)
def test_json_loses_nothing(name: str) -> None:
    text = "é → 🎉"
    done = process(
        "tokens", "-", *TALK, "--json",
        env=os.environ | ENCODINGS[name], input=text.encode(), text=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("ascii"))["text"] == text


def test_a_text_of_the_shell_is_utf8_whatever_the_locale() -> None:
    environment = os.environ | ENCODINGS["no UTF-8 mode"]
    text = "é → 🎉"
    done = process("tokens", text, *TALK, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == text


def test_chat_reads_utf8_from_a_pipe() -> None:
    """What it is asked arrives: the same reply whatever the encoding of the terminal."""
    replies = [
        process(
            "chat", *TALK, "--max-tokens", 3, env=os.environ | environment, input="é 🎉\n".encode(),
            text=False,
        ).stdout
        for environment in ({"PYTHONUTF8": "1"}, *ENCODINGS.values())
    ]  # fmt: skip
    assert replies[0].strip()
    assert len(set(replies)) == 1


def test_a_system_that_says_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither how many cores are ours, nor how much memory is free, nor an allocator to ask."""
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert get_backend("numpy").threads == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert get_backend("numpy").threads == 1

    def no_proc(path: str, *arguments: object, **options: object) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr("builtins.open", no_proc)
    assert (contents.available_memory() or 0) > 1 << 20
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert contents.available_memory() is None
    memory.keep_freed_memory()
    monkeypatch.setitem(sys.modules, "termios", None)
    with editor.silent_keyboard():
        pass


# What Python's documentation marks "Availability: Unix", or Linux.
ELSEWHERE = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "pty", "resource", "termios", "tty", "syslog"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid", "setsid", "killpg",
             "nice", "sched_getaffinity", "process_cpu_count", "sysconf", "statvfs", "pread",
             "pwrite", "posix_fadvise", "mkfifo", "fchmod", "chown", "uname"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGCHLD", "SIGUSR1", "alarm", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
import ctypes
library = ctypes.CDLL
def lacking(name, *arguments, **options):  # no renameat2, no mallopt; threadpoolctl finds BLAS
    return object() if options.get("use_errno") else library(name, *arguments, **options)
ctypes.CDLL = lacking
sys.platform = sys.argv.pop(1)

import pellucid
from pellucid import checkpoint, inspect
gpt = pellucid.load("talk")
text = gpt.generate("The power clapper", max_tokens=4, greedy=True).text
assert text == " went straight to jail", text
inspect.why(gpt, "The power clapper")
for _ in range(2):
    checkpoint.save(sys.argv[1], gpt.hparams, gpt.model.tensors(), gpt.tokenizer)
again = pellucid.load(sys.argv[1])
assert again.generate("The power clapper", max_tokens=4, greedy=True).text == text
from pellucid.cli import main
sys.argv = ["pellucid", "walk", "The power clapper"]
main()
"""


@pytest.mark.parametrize("platform", ["darwin", "freebsd14"])
def test_a_system_without_what_linux_has(platform: str, tmp_path: Path) -> None:
    done = python(ELSEWHERE, platform, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert "power" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
