"""What the name of a model means: the one rule for Python and for every command.

1. A `Path`, and a text with a separator or a `~` in front, is a file or folder.
2. The bare name of an embedded model (`chat`, `talk`, `induction`) is that model, whatever lies in
   the current folder; `./chat` is the folder.
3. Any other name that exists is that file or folder.
4. What is left may be a name on the Hugging Face hub: `org/name`, or a short one such as `gpt2`.
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import embedded
from ..errors import CheckpointError

__all__ = ["find"]


_ENDINGS = {".bin", ".ckpt", ".gguf", ".json", ".pt", ".pth", ".safetensors", ".zip"}


def find(source: str | os.PathLike[str]) -> Path:
    """The file or folder that a person means; a hub model is downloaded where it is not cached.

    Raises CheckpointError for a name that means nothing.
    """
    text = os.fspath(source)
    if not text or "\0" in text:
        raise CheckpointError(f"{text!r} names no model: give a folder, a file or a hub name")
    if isinstance(source, str) and source in embedded.names():
        return embedded.FOLDER / source
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    try:
        if path.exists():
            return path
    except OSError as error:  # a name too long
        raise CheckpointError(f"cannot read {text[:60]!r}...: {error.strerror}") from error
    if path.suffix in _ENDINGS:  # a file mistyped, not a model of the hub
        near = _near(path)
        raise CheckpointError(
            f"there is no file or folder {text[:200]!r}" + (f"; is {near} meant?" if near else "")
        )
    from . import hub  # not for a model that is here

    if isinstance(source, str) and hub.is_hub_name(text):
        return hub.folder_of(text)
    raise CheckpointError(
        f"there is no folder or file {text[:200]!r}, and it is no name of a model: give a path, "
        f"an embedded model ({', '.join(embedded.names())}), or a hub name such as gpt2, "
        "distilgpt2, openai-community/gpt2"
    )


def _near(path: Path) -> Path | None:
    """The path beside it that is spelled most like it."""
    from difflib import get_close_matches

    try:
        names = [each.name for each in path.parent.iterdir()]
    except OSError:
        return None
    matches = get_close_matches(path.name, names, n=1)
    return path.with_name(matches[0]) if matches else None
