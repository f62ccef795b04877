"""API keys: where they are read from, and what one looks like."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from ..files import Reader

__all__ = ["KEY", "read_keys"]

KEY = "PELLUCID_API_KEY"
_SHORTEST = 8  # characters of a key


def read_keys(file: str | None) -> tuple[str, ...]:
    """From the file, else from the environment; never from the command line, which others see.

    Raises InputError for what is no key.
    """
    if file is None:
        lines, source = [os.environ.get(KEY, "")], KEY
        if not lines[0]:
            return ()
    else:
        try:
            text = Reader().read_bytes(Path(file), 1 << 16).decode("ascii")
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: a key is of ASCII characters") from error
        lines, source = [line for line in map(str.strip, text.splitlines()) if line], file
        if not lines:
            raise InputError(f"{file} holds no key: write one into it, on a line of its own")
    for key in lines:
        if len(key) < _SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise InputError(
                f"{source}: a key is at least {_SHORTEST} ASCII characters without spaces, such as "
                'what `python -c "import secrets; print(secrets.token_urlsafe())"` prints'
            )
    return tuple(lines)
