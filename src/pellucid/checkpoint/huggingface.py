"""Hugging Face's GPT-2 and Llama: `config.json`, `model.safetensors` (or shards with an index),
tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import CheckpointError
from ..sampling import recommended
from ..template import TEMPLATES
from . import huggingface_gpt2, huggingface_llama
from .chat_template import in_folder
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_memory,
    check_tokenizer,
    checking_finite,
    inside,
    padding_note,
)
from .formats import TOKENIZERS
from .names import wrapping
from .parts import Part, divided
from .safetensors_file import SafetensorsFile, write

if TYPE_CHECKING:
    from ..hparams import HParams
    from ..template import Template
    from ..tokenizer import Tokenizer

__all__ = ["CONFIG", "INDEX", "LAYOUTS", "WEIGHTS", "Layout", "fill", "read"]


class Layout(Protocol):
    """How a family lies in these files: what a module of each has.

    KINDS: every `model_type` of it. parts: our names → the tensors that each is stored as.
    is_padding: whether n_rows embeddings for n_vocab tokens end in rows that stand for none.
    """

    @property
    def KINDS(self) -> Collection[str]: ...
    def read_config(
        self, config: Mapping[str, Any], path: Path, /
    ) -> tuple[HParams, str | None, dict[str, Any]]:
        """The hyperparameters, the chat template's name where it says one, what a card says."""

    def read_tensors(
        self, files: Mapping[str, SafetensorsFile], hparams: HParams, source: Path, /
    ) -> dict[str, np.ndarray]: ...
    def is_padding(self, n_rows: int, n_vocab: int, /) -> bool: ...
    def parts(self, hparams: HParams, /) -> dict[str, list[Part]]: ...
    def write_config(self, hparams: HParams, dtype: str, /) -> dict[str, Any]: ...


LAYOUTS: dict[str, Layout] = {"gpt2": huggingface_gpt2, "llama": huggingface_llama}

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GENERATION = "generation_config.json"
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")  # its keys, and ours
INDEX = "model.safetensors.index.json"
MOST_SHARDS = 256
_OTHER_TOKENIZERS = {
    "spiece.model": "a SentencePiece tokenizer",
    "tokenizer.model": "a SentencePiece tokenizer",
    "vocab.txt": "a WordPiece vocabulary (BERT's kind)",
}
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.safetensors")


def read(source: Path) -> Checkpoint:
    """source: the folder, or in it the safetensors file or the index to take the weights from."""
    folder = source if source.is_dir() else source.parent
    config = READER.read_object(inside(folder, CONFIG))
    kind = config.get("model_type")
    layout = next((each for each in LAYOUTS.values() if kind in tuple(each.KINDS)), None)
    if layout is None:
        holds = f"it holds a {_short(kind)}" if isinstance(kind, str) else "model_type is missing"
        known = ", ".join(name for each in LAYOUTS.values() for name in each.KINDS)
        raise CheckpointError(
            f"{folder / CONFIG}: {holds}; it must be {known}: Pellucid computes no other model"
        )
    hparams, template, card = layout.read_config(config, folder / CONFIG)
    check_memory(4 * hparams.n_params, folder)
    if source.is_dir():
        sharded = not (folder / WEIGHTS).exists() and (folder / INDEX).exists()
        source = folder / (INDEX if sharded else WEIGHTS)
    if source.name.endswith(".index.json"):
        files = _read_shards(folder, source.name)
    else:
        opened = SafetensorsFile(inside(folder, source.name))
        files = dict.fromkeys(opened.places, opened)
    tensors = layout.read_tensors(files, hparams, source)

    notes = next(iter(files.values())).metadata.get("pellucid")
    if notes is not None:
        template, card = _read_notes(notes, source)
    if note := wrapping(files):
        card["prefix"] = note
    with checking_finite(tensors, source):
        tokenizer = _tokenizer(folder)
    if isinstance(tokenizer, str):
        card["no_tokenizer"], tokenizer = tokenizer, None
    if tokenizer is not None:
        if template is None:
            template = in_folder(folder, tokenizer, card)
        if layout.is_padding(hparams.n_vocab, tokenizer.n_vocab):
            card["padding"] = padding_note(hparams.n_vocab, tokenizer.n_vocab)
            hparams = replace(hparams, n_vocab=tokenizer.n_vocab)
            for name in {"wte.weight", "lm_head.weight"} & set(tensors):
                tensors[name] = tensors[name][: hparams.n_vocab]
        check_tokenizer(tokenizer, hparams, folder)
    return Checkpoint(
        hparams=hparams,
        tensors=tensors,
        tokenizer=tokenizer,
        card=card,
        template=template,
        path=folder,
        roles=_roles(folder, hparams.n_vocab, tokenizer),
    )


def _roles(folder: Path, n_vocab: int, tokenizer: Tokenizer | None) -> Roles:
    """What generation_config.json says, then config.json, then the tokenizer's files."""
    from ..tokenizer import named_roles

    values: dict[str, Any] = {}
    for name in (CONFIG, GENERATION):
        path = inside(folder, name)
        if path.is_file():
            table = READER.read_object(path)
            for role in ("bos", "eos", "pad"):
                if table.get(f"{role}_token_id") is not None:
                    values[role] = table[f"{role}_token_id"]
    roles = Roles.of(values, n_vocab, f"{folder}: {CONFIG} or {GENERATION}")
    if tokenizer is None:
        return roles
    texts = named_roles(folder)
    ids = {
        role: tokenizer.special_tokens.get(texts[role][0])
        for role in ("bos", "eos", "pad", "unk")
        if texts.get(role)
    }
    return Roles.of(ids | roles.to_dict(), n_vocab, str(folder))


def _read_shards(folder: Path, index_name: str) -> dict[str, SafetensorsFile]:
    """The file of each tensor. Every shard holds what the index says, no more and no less."""
    path = inside(folder, index_name)
    index = READER.read_object(path)
    if set(index) - {"metadata"} != {"weight_map"} or not isinstance(index["weight_map"], dict):
        raise CheckpointError(f"{path} must hold a table weight_map, perhaps metadata, no more")
    homes = index["weight_map"]
    shards: dict[str, SafetensorsFile] = {}
    names: set[str] = set()
    for name in homes.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise CheckpointError(
                f"{path}: {_short(name)} is not the name of a safetensors file in this folder"
            )
        names.add(name)
    if len(names) > MOST_SHARDS:
        raise CheckpointError(f"{path} names {len(names)} files; at most {MOST_SHARDS} are read")
    for name in sorted(names):
        shards[name] = shard = SafetensorsFile(inside(folder, name))
        listed = {tensor for tensor, home in homes.items() if home == name}
        if listed != set(shard.places):
            odd = sorted(listed ^ set(shard.places))[0]
            raise CheckpointError(
                f"{path} and {name} disagree about tensor {_short(odd)}: "
                "is a file of another model among them?"
            )
    return {tensor: shards[name] for tensor, name in homes.items()}


def _tokenizer(folder: Path) -> Tokenizer | str | None:
    """None where there is none; a text where it is of a kind that is not computed here: what."""
    for names in TOKENIZERS:
        if all((folder / name).exists() for name in names):
            for name in names:
                inside(folder, name)
            from ..tokenizer import ForeignTokenizer, Tokenizer

            try:
                return Tokenizer.from_folder(folder)
            except ForeignTokenizer as foreign:
                return str(foreign)
    for name, kind in _OTHER_TOKENIZERS.items():
        if (folder / name).exists():
            return f"{name} is {kind}, and Pellucid computes byte-level BPE"
    return None


def _read_notes(notes: str, source: Path) -> tuple[str | None, dict[str, Any]]:
    """What `fill` put beside the weights for Pellucid; other programs pass over it."""
    table = READER.parse_object(notes.encode(), f"{source}: the metadata `pellucid`")
    template, card = table.get("template"), table.get("card")
    if set(table) != {"template", "card"} or not (
        isinstance(template, str | None) and isinstance(card, dict)
    ):
        raise CheckpointError(f"{source}: the metadata `pellucid` must be a template and a card")
    return template, card


def fill(folder: Path, checkpoint: Checkpoint, dtype: str) -> int:
    """Write the files that `transformers` loads into an empty folder -> how many tensors."""
    hparams, tokenizer, roles = checkpoint.hparams, checkpoint.tokenizer, checkpoint.roles
    stops = list(roles.stops(tokenizer))
    bos = roles.bos if roles.bos is not None or tokenizer is None else tokenizer.end_of_text
    layout = LAYOUTS[hparams.family]
    tensors = {
        part.name: numbers
        for ours, parts in layout.parts(hparams).items()
        for part, numbers in divided(parts, checkpoint.tensors[ours])
    }
    config = layout.write_config(hparams, dtype) | {
        "bos_token_id": bos,
        "eos_token_id": stops[0] if len(stops) == 1 else stops or None,
        "pad_token_id": roles.pad,
    }
    config = dict(sorted(config.items()))
    notes = {"template": checkpoint.template, "card": dict(checkpoint.card)}
    write(
        folder / WEIGHTS,
        tensors,
        dtype=dtype,
        metadata={"format": "pt", "pellucid": json.dumps(notes, sort_keys=True)},
    )
    (folder / CONFIG).write_bytes((json.dumps(config, indent=2) + "\n").encode())
    template = None
    if tokenizer is not None and checkpoint.template in TEMPLATES:
        template = TEMPLATES[checkpoint.template]
    generation = _generation(checkpoint, config, template)
    (folder / GENERATION).write_bytes((json.dumps(generation, indent=2) + "\n").encode())
    if tokenizer is None:
        return len(tensors)
    tokenizer.save(folder)
    # What the tokenizer wrote there (its special tokens), and what belongs to the model.
    settings: dict[str, Any] = READER.read_object(folder / "tokenizer_config.json")
    settings["model_max_length"] = hparams.n_ctx
    # Only special tokens: transformers would add an ordinary one, such as "\n", to the vocabulary.
    texts = {token: text for text, token in tokenizer.special_tokens.items()}
    end = tokenizer.end_of_text if tokenizer.end_of_text in stops else None
    ends = [*([end] if end is not None else []), *stops]
    named = {
        "bos": bos,
        "eos": next((token for token in ends if token in texts), None),
        "pad": roles.pad,
        "unk": roles.unk if roles.unk is not None else tokenizer.end_of_text,
    }
    for role, token in named.items():
        if role != "pad" or token in texts:
            settings[f"{role}_token"] = texts.get(token) if token is not None else None
    if template is not None:
        settings["chat_template"] = template.jinja(tokenizer)
    (folder / "tokenizer_config.json").write_bytes((json.dumps(settings, indent=2) + "\n").encode())
    return len(tensors)


def _generation(
    checkpoint: Checkpoint, config: Mapping[str, Any], template: Template | None
) -> dict[str, Any]:
    """What ends a text, a reply too, and the sampling that the model's card recommends: vLLM, TGI
    and `transformers` begin with these."""
    eos = list(checkpoint.roles.stops(checkpoint.tokenizer))
    if template is not None and checkpoint.tokenizer is not None:
        special = checkpoint.tokenizer.special_tokens
        closes = (special.get(part) for part in template.frames["assistant"].after)
        eos = list(dict.fromkeys([*eos, *(token for token in closes if token is not None)]))
    values: dict[str, Any] = {
        "bos_token_id": config["bos_token_id"],
        "eos_token_id": eos[0] if len(eos) == 1 else eos or None,
        "pad_token_id": config["pad_token_id"],
    }
    sampling = recommended(checkpoint.card)
    drawn = {name: sampling[name] for name in _SAMPLING if sampling.get(name) is not None}
    if sampling.get("greedy") or drawn.get("temperature") == 0:
        return {**values, "do_sample": False}
    return {**values, "do_sample": True, **drawn} if drawn else values


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
