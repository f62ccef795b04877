"""Models by their name on the Hugging Face hub: downloaded once, then read from its cache."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CheckpointError
from .contents import READER

__all__ = ["FILES", "SHORT_NAMES", "cached", "folder_of", "is_hub_name"]

# Names that the first users of GPT-2 know → where those models live now.
SHORT_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}

# All that is ever downloaded; never a pickle (.bin, .pt), never code.
FILES = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-?????-of-?????.safetensors",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens.json",
    "special_tokens_map.json",
    "manifest.json",
]

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?P<model>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9_./-]*))?")


def is_hub_name(name: str) -> bool:
    """`org/name`, one of SHORT_NAMES, each perhaps with `@` and a branch, tag or commit."""
    return _parse(name) is not None


def folder_of(name: str) -> Path:
    """The folder of a hub model's files, from the cache if it is there, else downloaded to it.

    Shows the hub library's progress bar. Raises CheckpointError saying what to do when the model
    is neither cached nor reachable, or has no weights that are safe to read.
    """
    parsed = _parse(name)
    if parsed is None:
        raise CheckpointError(f"{name!r} is not a name of the form org/name or org/name@revision")
    model, revision = parsed
    cached = _cached(model, revision, name.partition("@")[0])
    return cached if cached is not None else _download(model, revision)


def cached() -> list[str]:
    """Names of the models in the hub's cache that are whole and of GPT-2's kind."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    names = []
    for name in sorted(each.repo_id for each in repositories if each.repo_type == "model"):
        snapshot = _cached(name, "main", name) if _parse(name) else None
        try:
            config = None if snapshot is None else READER.read_object(snapshot / "config.json")
        except CheckpointError:
            continue
        if config is not None and config.get("model_type") == "gpt2":
            names.append(name)
    return names


def _parse(name: str) -> tuple[str, str] | None:
    short, at, rest = name.partition("@")
    match = _NAME.fullmatch(SHORT_NAMES.get(short, short) + at + rest)
    if match is None or any(bad in name for bad in ("..", "--", "//")):
        return None
    return match["model"], match["revision"] or "main"


def _cached(model: str, revision: str, as_asked: str) -> Path | None:
    """A complete snapshot in the cache, without asking the network.

    The same name gives the same weights until `hf download` brings newer ones.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    for repository in dict.fromkeys((model, as_asked)):  # older programs cached plain `gpt2`
        config = try_to_load_from_cache(repository, "config.json", constants.HF_HUB_CACHE, revision)
        if isinstance(config, str) and _is_complete(Path(config).parent):
            return Path(config).parent
    return None


def _is_complete(snapshot: Path) -> bool:
    """Whether a download got as far as weights and tokenizer, its configuration being there."""
    tokenizer = all((snapshot / part).is_file() for part in ("vocab.json", "merges.txt"))
    if not (tokenizer or (snapshot / "tokenizer.json").is_file()):
        return False
    if (snapshot / "model.safetensors").is_file():
        return True
    index = snapshot / "model.safetensors.index.json"
    if not index.is_file():
        return False
    shards = READER.read_object(index).get("weight_map")
    return isinstance(shards, dict) and all(
        isinstance(shard, str) and (snapshot / Path(shard).name).is_file()
        for shard in shards.values()
    )


def _download(model: str, revision: str) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=FILES))
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{model} asks you to accept its terms on huggingface.co/{model}; "
            "then run `hf auth login` and try again"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no model {model} on the hub (or it is private: `hf auth login`); "
            "check the name, or give a folder"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{model} has no revision {revision} on the hub") from error
    except Exception as error:  # the hub's HTTP library changes; whatever it raises, say what to do
        raise CheckpointError(
            f"cannot get {model} from the hub and it is not in the cache: no connection, or "
            f"HF_HUB_OFFLINE is set ({type(error).__name__}). On a machine that is online run "
            f"`hf download {model}` (older: `huggingface-cli download`) and copy its cache "
            "(HF_HOME) here, or give the folder that holds the model's files"
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{model} has no safetensors, only files that Pellucid does not read: a pickle (.bin) "
            f"can run any program when it is opened. If you trust it, convert it where "
            f'transformers is installed: python -c "from transformers import AutoModelForCausalLM '
            f"as M, AutoTokenizer as T; M.from_pretrained('{model}').save_pretrained('out'); "
            f"T.from_pretrained('{model}').save_pretrained('out')\" and load the folder out; "
            f"or look for a converted revision: {model}@refs/pr/1"
        )
    return folder
