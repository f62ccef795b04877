"""Pellucid's command line as tests use it: in this process, in one of its own, in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from pellucid.cli import pellucid
from pellucid.errors import PellucidError

__all__ = [
    "PROGRAM",
    "Done",
    "captured",
    "ended",
    "in_turn",
    "interrupted",
    "invoke",
    "process",
    "python",
    "run",
    "terminal",
]

PROGRAM = (sys.executable, "-m", "pellucid")
GUARD = 120  # seconds; only so that what hangs is seen to hang


def invoke(*arguments: object, text: str | None = None, width: int | None = None) -> Result:
    """In this process. A person's mistake is left in `exception`; whatever else is raised."""
    done = CliRunner().invoke(
        pellucid,
        [str(each) for each in arguments],
        input=text,
        env=None if width is None else {"COLUMNS": str(width)},
    )
    if done.exception is not None and not isinstance(done.exception, PellucidError | SystemExit):
        raise done.exception
    return done


def run(*arguments: object, text: str | None = None, width: int | None = None) -> str:
    """In this process -> what was printed, when the exit code is 0. Raises a person's mistake."""
    done = invoke(*arguments, text=text, width=width)
    if isinstance(done.exception, PellucidError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as a person starts it. options: of `subprocess.run`."""
    return captured([*PROGRAM, *arguments], **options)


def python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A program of Python in a process of its own. options: of `subprocess.run`."""
    return captured([sys.executable, "-c", code, *arguments], **options)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one of several commands printed, and its exit code."""

    code: int
    stdout: str
    stderr: str


def in_turn(commands: Sequence[Sequence[object]], **options: Any) -> list[Done]:
    """The program as a shell starts it, once for each, in one process for all: starting takes
    longer than a mistake. options: of `subprocess.run`."""
    words = [[str(each) for each in command] for command in commands]
    done = python(_IN_TURN, json.dumps(words), **options)
    assert done.returncode == 0, done.stderr
    *printed, codes = done.stdout.split(_END)
    *told, rest = done.stderr.split(_END)
    assert not rest
    return [
        Done(code=code, stdout=out, stderr=err)
        for code, out, err in zip(json.loads(codes), printed, told, strict=True)
    ]


_END = "\f"
_IN_TURN = """
import json, sys
from pellucid.cli import main
codes = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["pellucid", *words]
    try:
        main()
        codes.append(0)
    except SystemExit as end:
        codes.append(end.code or 0)
    for stream in (sys.stdout, sys.stderr):
        stream.write("\\f")
print(json.dumps(codes))
"""


def captured(command: Sequence[object], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Any program, and what it printed. options: of `subprocess.run`."""
    options = {"text": True, "timeout": GUARD, "check": False} | options
    return subprocess.run([str(each) for each in command], capture_output=True, **options)


def interrupted(*arguments: object, steps: int) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; after so many tokens of a reply comes Ctrl-C."""
    code = (
        "from pellucid.sequence import Sequence\n"
        "whole = Sequence.take\n"
        "def take(self, logits):\n"
        f"    if len(self.steps) == {steps}: raise KeyboardInterrupt\n"
        "    return whole(self, logits)\n"
        "Sequence.take = take\n"
        "from pellucid.cli import main\n"
        "main()"
    )
    return python(code, *arguments)


def terminal(
    *arguments: object,
    code: str = "from pellucid.cli import main; main()",
    dimensions: tuple[int, int] = (40, 100),
    timeout: int = 90,
    **environment: object,
) -> Any:
    """In a terminal of rows × columns -> pexpect's child. code: what starts it."""
    import pexpect

    return pexpect.spawn(
        sys.executable,
        ["-c", code, *map(str, arguments)],
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"}
        | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        | {name: str(value) for name, value in environment.items()},
        encoding="utf-8",
        timeout=timeout,
        dimensions=dimensions,
    )


def ended(child: Any) -> int:
    """The exit code of a terminal's child, once it has ended."""
    import pexpect

    child.expect(pexpect.EOF)
    child.wait()  # its terminal is closed a moment before it has ended, and close() would kill it
    child.close()
    assert child.signalstatus is None, f"ended by signal {child.signalstatus}"
    return int(child.exitstatus)
