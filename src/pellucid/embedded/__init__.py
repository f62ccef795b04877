"""The models that come with the package: a folder each, in Pellucid's own format.

`chat` is the chatbot (recipes/chatbot), `talk` the model small enough to read (`pellucid train
talk`), `induction` one whose heads are known, because they were built by hand (recipes/induction),
`digits` the original Transformer, small (recipes/digits; `pellucid.load_translator` takes it).
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT", "FOLDER", "names"]

FOLDER = Path(__file__).parent
DEFAULT = "chat"  # what is loaded where no model is named


def names() -> list[str]:
    """The names that `pellucid.load` takes for these models, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))
