"""Pellucid's command line as tests use it: in this process, in one of its own, in a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from click.testing import CliRunner, Result

from pellucid.cli import pellucid
from pellucid.errors import PellucidError

__all__ = [
    "PROGRAM",
    "captured",
    "ended",
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
    timeout: int = 30,
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
