"""Pythons by name ("python3.12"), as far as they are installed: on the PATH, or by pyenv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["find", "first_line"]

_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def find(names: list[str]) -> dict[str, str]:
    """-> version ("3.12") -> program, in the order of `names`; those not installed are left out."""
    installed: dict[str, str] = {}
    for name in names:
        for program in _candidates(name):
            version = first_line(program, "-c", _VERSION)
            if version is not None:
                installed.setdefault(version, program)
                break
    return installed


def first_line(*command: str) -> str | None:
    """What a program prints first; None where it fails, or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.partition("\n")[0] if done.returncode == 0 else None


def _candidates(name: str) -> list[str]:
    on_path = shutil.which(name)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    by_pyenv = sorted(map(str, pyenv.glob(f"{name.removeprefix('python')}.*/bin/{name}")))
    return ([on_path] if on_path else []) + by_pyenv[::-1]
