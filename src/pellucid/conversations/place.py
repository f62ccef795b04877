"""Where the store lies."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["HOME", "NAME", "store_path"]

HOME = "PELLUCID_HOME"  # the environment variable that names another folder
NAME = "conversations.db"


def store_path() -> Path:
    """The store of whoever runs this: in the folder that PELLUCID_HOME names, else in the
    system's folder for a person's data, such as ~/.local/share/pellucid."""
    if named := os.environ.get(HOME):
        return Path(named) / NAME
    from platformdirs import user_data_path

    return user_data_path("pellucid", appauthor=False) / NAME
