"""A folder that is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CheckpointError

__all__ = ["new_folder", "sync", "write_file"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # macOS sys/stdio.h


@contextmanager
def new_folder(target: Path, may_replace: Callable[[Path], None]) -> Iterator[Path]:
    """Yields an empty folder to fill; when the block ends well it takes the place of `target`.

    The content is on disk before the name is. When the block fails, or the machine stops, what
    `target` was stays what it was. may_replace: raises when the existing folder is not ours.
    Raises CheckpointError when the folder cannot be written (disk full, no permission).
    """
    target = target.resolve()  # a link to a checkpoint stays a link
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        if target.exists():
            may_replace(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        partial.mkdir()
        try:
            yield partial
            sync(partial)
            if target.exists():
                _exchange(partial, target)
            else:
                partial.rename(target)
            sync(target.parent)
        finally:
            # Holds the half-written new folder, or after the exchange the old one.
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {target}: {error.strerror or error}; what was there before is unchanged"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Wait until a folder's list of names, and the files in it, are on disk."""
    if os.name == "nt":  # Windows cannot open folders; its renames are logged by NTFS
        return
    files = [path for path in folder.iterdir() if path.name.endswith((".json", ".txt"))]
    for path in [*files, folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Swap the names of two folders in one step, so that `old`'s name is never absent."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(os.fsencode(new), os.fsencode(old), _RENAME_SWAP)
        else:
            failed = libc.renameat2(
                _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE
            )
    except (AttributeError, OSError, TypeError):  # no such call on this system
        failed = -1
    if not failed:
        return
    # Two steps: a crash between them leaves the previous folder under its second name.
    previous = new.with_suffix(".previous")
    old.rename(previous)
    try:
        new.rename(old)
    except OSError:
        previous.rename(old)
        raise
    previous.rename(new)


def _sweep(target: Path) -> None:
    """Remove what writers that no longer run have left half-written."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.([0-9]+)\.partial")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and (int(match[1]) == os.getpid() or not _runs(int(match[1]))):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True
