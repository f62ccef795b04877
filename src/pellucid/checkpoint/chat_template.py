"""The chat template in a model's files: recognised by its text, never run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from ..template import recognise
from .contents import READER, inside

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["in_folder", "recognised"]

_FILE = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_MOST_BYTES = 4 << 20


def recognised(text: str, tokenizer: Tokenizer, card: dict[str, Any]) -> str | None:
    """The name of the template that the text is. None where it is not known, which the card then
    says."""
    name = recognise(text, tokenizer)
    if name is None:
        card["chat_template"] = (
            "its own chat template is none of those that Pellucid knows (it runs none): its "
            "conversations are written plain, unless --template names another"
        )
    return name


def in_folder(folder: Path, tokenizer: Tokenizer, card: dict[str, Any]) -> str | None:
    """From chat_template.jinja, else from tokenizer_config.json, as `transformers` looks."""
    path = inside(folder, _FILE)
    if path.is_file():
        try:
            text = READER.read_bytes(path, _MOST_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path} is not UTF-8 text: {error}") from error
        return recognised(text, tokenizer, card)
    path = inside(folder, _CONFIG)
    if not path.is_file():
        return None
    # transformers writes int(1e30), 31 digits, for a model_max_length that it does not know.
    table = READER.parse_object(READER.read_bytes(path, _MOST_BYTES), str(path), digits=31)
    found = table.get("chat_template")
    if isinstance(found, list):  # several by name, of which one is the default
        named = [each for each in found if isinstance(each, dict)]
        found = next((e.get("template") for e in named if e.get("name") == "default"), None)
    if found is None:
        return None
    if not isinstance(found, str):
        raise CheckpointError(f"{path}: chat_template must be a text, or a list with a default")
    return recognised(found, tokenizer, card)
