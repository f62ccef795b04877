"""Files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

__all__ = ["new_file"]


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A file beside `path` to write; it takes that name once the block ends well and it is not
    empty.

    Tried before the block runs, so that no work is lost for a folder that is not there.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(f"{path} is a folder: name a file")
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        partial.touch()
        yield partial
        if partial.stat().st_size:
            partial.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
