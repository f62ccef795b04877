"""Pellucid's own folder: weights, configuration and tokenizer under one manifest of hashes.

    model.safetensors   the weights, by the names of `weights.shapes`
    config.json         format, version, hparams, template, card, and roles where there are any
    vocab.json, ...     the tokenizer (`Tokenizer.save`), if there is one
    manifest.json       the sha256 of each of them, and of all of them together

The tokenizer is hashed with the weights because another one under the same weights makes them
say something else. A file that has been exchanged or damaged is found before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..weights import shapes
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_finite,
    check_memory,
    check_shapes,
    check_tokenizer,
    hparams_from,
    inside,
)
from .safetensors_file import SafetensorsFile, write

__all__ = ["FORMAT", "MANIFEST", "fill", "read"]

FORMAT = "pellucid"
VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
_MOST_TOKENIZER_BYTES = 1 << 26
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}")
_READ = (".json", ".txt", ".bpe", ".safetensors")  # the kinds of file a reader might look at


def read(folder: Path) -> Checkpoint:
    """Verify every hash, then read. Raises CheckpointError naming the file that is not as saved."""
    expected = _read_manifest(inside(folder, MANIFEST))
    for path in folder.iterdir():
        if path.suffix in _READ and path.name not in expected and path.name != MANIFEST:
            raise CheckpointError(f"{path} is not in the manifest; it was added later: remove it")
    weights = SafetensorsFile(_whole(folder, WEIGHTS, expected))
    config_bytes = READER.read_bytes(_whole(folder, CONFIG, expected))
    for name, digest in expected.items():
        if name == WEIGHTS:
            sha256 = hashlib.sha256(weights.data.data).hexdigest()
        elif name == CONFIG:
            sha256 = hashlib.sha256(config_bytes).hexdigest()
        else:
            content = READER.read_bytes(_whole(folder, name, expected), _MOST_TOKENIZER_BYTES)
            sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != digest:
            raise CheckpointError(
                f"{folder / name} is not the file that was saved (its sha256 is {sha256[:12]}..., "
                f"the manifest says {digest[:12]}...): damaged or exchanged; take a fresh copy"
            )

    config = READER.parse_object(config_bytes, str(folder / CONFIG))
    if set(config) - {"roles"} != {"format", "version", "hparams", "template", "card"}:
        raise CheckpointError(
            f"{folder / CONFIG} must hold format, version, hparams, template, card, perhaps roles: "
            "no more"
        )
    _check_version(config, folder / CONFIG)
    hparams_table, template, card = config["hparams"], config["template"], config["card"]
    named = config.get("roles", {})
    if not all(isinstance(table, dict) for table in (hparams_table, card, named)):
        raise CheckpointError(f"{folder / CONFIG}: hparams, card and roles must be tables")
    if template is not None and not isinstance(template, str):
        raise CheckpointError(f"{folder / CONFIG}: template must be a name or null")
    hparams = hparams_from(hparams_table, folder / CONFIG)
    check_memory(4 * hparams.n_params, folder)
    found_shapes = {name: place.shape for name, place in weights.places.items()}
    check_shapes(found_shapes, hparams, weights.path)
    tensors = {name: weights.tensor(name) for name in shapes(hparams)}
    check_finite(tensors, weights.path)

    tokenizer = None
    if set(expected) - {WEIGHTS, CONFIG}:
        from ..tokenizer import Tokenizer

        tokenizer = Tokenizer.from_folder(folder)
        check_tokenizer(tokenizer, hparams, folder)
    return Checkpoint(
        hparams=hparams,
        tensors=tensors,
        tokenizer=tokenizer,
        card=card,
        template=template,
        path=folder,
        roles=Roles.of(named, hparams.n_vocab, str(folder / CONFIG)),
    )


def _read_manifest(path: Path) -> dict[str, str]:
    """name → sha256, as saved."""
    manifest = READER.read_object(path)
    if set(manifest) != {"format", "version", "files", "together"}:
        raise CheckpointError(f"{path} must hold format, version, files, together: no more")
    _check_version(manifest, path)
    files = manifest["files"]
    if not isinstance(files, dict) or not {CONFIG, WEIGHTS} <= set(files) or MANIFEST in files:
        raise CheckpointError(f"{path}: files must list {CONFIG} and {WEIGHTS}")
    for name, digest in files.items():
        if not _PLAIN.fullmatch(name):
            raise CheckpointError(f"{path}: {name[:60]!r} is not a plain file name")
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise CheckpointError(f"{path}: the hash of {name} is not a sha256")
    if manifest["together"] != _together(files):
        raise CheckpointError(f"{path} does not agree with itself: it was changed")
    return files


def _check_version(table: Mapping[str, Any], path: Path) -> None:
    if table["format"] != FORMAT:
        raise CheckpointError(f"{path}: format must be {FORMAT!r}")
    if type(table["version"]) is not int or table["version"] != VERSION:
        raise CheckpointError(
            f"{path}: version {str(table['version'])[:20]}; this Pellucid reads {VERSION}: "
            "a newer one may be needed"
        )


def _whole(folder: Path, name: str, expected: Mapping[str, str]) -> Path:
    path = inside(folder, name)
    if not path.exists():
        raise CheckpointError(f"{path} is missing; the manifest lists {', '.join(expected)}")
    return path


def _together(files: Mapping[str, str]) -> str:
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()  # what `sha256sum` prints, hashed


def fill(folder: Path, checkpoint: Checkpoint, dtype: str) -> int:
    """Write all files of this format into an empty folder; the manifest comes last. -> how many
    tensors."""
    config = {
        "format": FORMAT,
        "version": VERSION,
        "hparams": checkpoint.hparams.to_dict(),
        "template": checkpoint.template,
        "card": dict(checkpoint.card),
    }
    if roles := checkpoint.roles.to_dict():
        config["roles"] = roles
    ordered = {name: checkpoint.tensors[name] for name in shapes(checkpoint.hparams)}
    write(folder / WEIGHTS, ordered, dtype=dtype)
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_bytes(text.encode())
    if checkpoint.tokenizer is not None:
        checkpoint.tokenizer.save(folder)
    files = {}
    for path in sorted(folder.iterdir()):
        with open(path, "rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "files": files,
        "together": _together(files),
    }
    (folder / MANIFEST).write_bytes((json.dumps(manifest, indent=2) + "\n").encode())
    return len(ordered)
