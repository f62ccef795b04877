"""Other machines: an encoding without our glyphs, a locale without UTF-8, a system that lacks what
Linux has. (`make lint` also checks the types as macOS and Windows have them: a call that they lack
is an error there.)"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from pellucid.backend import get_backend
from pellucid.checkpoint import contents
from pellucid.cli import memory
from pellucid.cli.verbs import EXAMPLES, VERBS
from pellucid.session import editor
from support.docs_commands import Command, Desk, needs_torch
from support.program import ended, process, python, terminal
from support.skips import NEEDS, only_with

ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "no UTF-8 mode": {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
}
TALK = ["--model", "talk"]
TEXT = "The power clapper"
ODD = "é 字"  # all that the window of `talk` has room for
OF_A_TEXT = (
    "attention", "attribute", "gradients", "lens", "sweep", "trace", "view", "walk", "why",
)  # fmt: skip
MORE = [
    ["--help"],
    ["models"],
    ["models", "talk"],
    ["tokens", "é → 🎉 \x1b[0m", *TALK, "--merges"],
    ["generate", "é", *TALK, "--greedy"],
    ["neighbours", " power", *TALK],
    ["patch", ODD, "è 字", *TALK],
    ["steer", "é", "--towards", "ü", *TALK, "--max-tokens", "1"],
    ["ablate", ODD, "--head", "1.0", *TALK],
    *([verb, ODD, *TALK] for verb in OF_A_TEXT),
    ["walk", ODD, *TALK, "--html", "é.html"],
    ["why", "é", "--chat"],
]
TORCH = NEEDS["torch"].here()  # else the verbs that need it are left out
# What takes seconds is run once, where both what it prints and its files meet an odd encoding.
LONG = ("batch", "bench", "gradients", "plot", "prefer", "train")
LEFT_OUT = {"ascii": LONG, "cp1252": LONG}
PROMPT = r"\x1b\[\?2004h"  # the line editor takes a paste: it waits
# All in one process, their words as a shell hands them over: each prints its exit code to
# standard error, where a traceback would come too.
DRIVER = """
import json, os, sys
from pellucid.cli import main
for arguments in json.loads(os.fsencode(sys.argv[1])):
    sys.argv = ["pellucid", *(os.fsdecode(each.encode()) for each in arguments)]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    print("exit code", code, *arguments[:1], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def every_verb(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A folder, and a command of each verb that runs in it: the example of its help."""
    folder = tmp_path_factory.mktemp("verbs")
    desk, before = Desk(folder=folder), Path.cwd()
    os.chdir(folder)
    try:
        # Those two until they are stopped: tests/test_serve_process.py has them.
        verbs = [verb for verb in VERBS if verb not in ("open", "serve")]
        own = [Command(page="", text=EXAMPLES[verb]) for verb in verbs]
        examples = [desk.words(each) for each in own if TORCH or not each.needs_torch]
    finally:
        os.chdir(before)
    return folder, examples


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_verb_fails_where_an_encoding_lacks_our_glyphs(
    name: str, every_verb: tuple[Path, list[list[str]]], tmp_path: Path
) -> None:
    folder, examples = every_verb
    here = shutil.copytree(folder, tmp_path / "here")
    commands = [*examples, *(words for words in MORE if TORCH or not needs_torch(words))]
    commands = [words for words in commands if words[0] not in LEFT_OUT.get(name, ())]
    done = python(
        DRIVER, json.dumps(commands, ensure_ascii=False),
        env=os.environ | {"COLUMNS": "100"} | ENCODINGS[name], text=False, cwd=here,
        input="é 字\n".encode(),
    )  # fmt: skip
    told = done.stderr.decode("ascii" if name != "cp1252" else name).splitlines()
    codes = [line for line in told if line.startswith("exit code")]
    assert codes == [f"exit code 0 {command[0]}" for command in commands], told
    assert not any("Traceback" in line for line in told)
    # `generate` hands a pipe its text as it is, in UTF-8.
    shown = done.stdout.decode("ascii" if name != "cp1252" else name, "replace")
    assert "The_" in shown or "_power" in shown  # ␣ elsewhere
    assert r"\u5b57" in shown
    assert ("é" if name == "cp1252" else r"\xe9") in shown
    assert r"|\x1b|" in shown


@pytest.mark.parametrize("name", ENCODINGS)
def test_columns_stay_where_they_are(name: str, tmp_path: Path) -> None:
    """Each line is as long as where every glyph can be printed, but for escapes and formulas."""
    commands = [["talk"], *([verb, TEXT, *TALK] for verb in ("walk", "lens", "why", "sweep"))]
    lines = []
    for environment in (ENCODINGS[name], {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}):
        done = python(
            DRIVER, json.dumps(commands), env=os.environ | {"COLUMNS": "100"} | environment,
            text=False, cwd=tmp_path,
        )  # fmt: skip
        told = done.stdout.decode("cp1252" if environment is ENCODINGS["cp1252"] else "utf-8")
        lines.append(told.splitlines())
    assert any("␣" in line for line in lines[1])
    for plain, glyphs in zip(*lines, strict=True):
        assert len(plain) == len(glyphs) or set("√∞ᵀ") & set(glyphs), (plain, glyphs)


@only_with("pexpect")
@pytest.mark.parametrize("name", ["ascii", "no UTF-8 mode"])
def test_a_terminal_without_our_glyphs(name: str, tmp_path: Path) -> None:
    """The chat, its pictures and its walk."""
    home = {"HOME": tmp_path, "XDG_CONFIG_HOME": tmp_path}
    child = terminal("chat", *TALK, dimensions=(50, 100), **ENCODINGS[name], **home)
    child.expect(PROMPT)
    for typed, answer in (
        ("The power clapper", "straight to jail"),
        ("/tokens", "Tokens are shown"),
        ("/walk", "12. Window full"),
        ("/why", "Token 1 of"),
        ("/set stop \u5b57", "stop"),
        (f"/view {tmp_path}/\xe9.html", "html"),
        ("/quit", None),
    ):
        child.send(typed + "\r")
        if typed == "/walk":
            child.expect("a: all the rest")
            child.send("a")
        if answer:
            child.expect(answer)
            child.expect(PROMPT)
    assert ended(child) == 0
    assert "Traceback" not in child.before


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


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from pellucid.errors import InputError\n"
        "from pellucid.files import new_file, new_folder\n"
        "for name in (chr(0xe9), 'a' + chr(0)):\n"
        "    for make in (new_file, lambda path: new_folder(Path(path), print)):\n"
        "        try:\n"
        "            with make(name): print('made')\n"
        "        except InputError as error: print(str(error).count('its name'))\n"
    )
    done = python(code, env=os.environ | ENCODINGS["no UTF-8 mode"], cwd=tmp_path)
    assert done.stdout.split() == ["1"] * 4, done.stderr


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
