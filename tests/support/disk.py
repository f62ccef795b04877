"""A disk that is full, and a writer that is killed."""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["FullDisk", "kill_often"]


class FullDisk:
    """`open` for writing as on a disk with room for `room` more bytes."""

    def __init__(self, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
        really_open = io.open

        class Limited(io.FileIO):
            def write(self, content: object) -> int:
                nonlocal room
                data = bytes(content)  # type: ignore[call-overload]
                super().write(data[: max(room, 0)])
                room -= len(data)
                if room < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return len(data)

        def limited(path: object, mode: str = "r", *args: object, **options: object) -> object:
            if "w" in mode:
                return Limited(path, "w")
            return really_open(path, mode, *args, **options)  # type: ignore[call-overload]

        for module in (io, builtins):  # pathlib opens by the first
            monkeypatch.setattr(module, "open", limited)


def kill_often(program: str, folder: Path, times: int, check: Callable[[], object]) -> None:
    """kill -9 a program of Python at random moments after it has said that it is ready."""
    rng = random.Random(0)
    for _ in range(times):
        command = [sys.executable, "-c", program, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            writer.kill()
        check()
