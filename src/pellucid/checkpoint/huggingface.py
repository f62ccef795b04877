"""Hugging Face's GPT-2 and Llama: `config.json`, `model.safetensors` (or shards with an index),
tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError
from ..families.llama import LlamaHParams
from ..sampling import recommended
from ..template import TEMPLATES
from ..weights import shapes
from . import llama_config
from .chat_template import in_folder
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_finite,
    check_memory,
    check_shapes,
    check_tokenizer,
    checking_finite,
    inside,
    padding_note,
    widen,
)
from .formats import TOKENIZERS
from .huggingface_config import read_config
from .llama_names import HUGGING_FACE, check_parts, divided, joined, parts_of
from .names import LM_HEAD, PREFIX, our_names, unwrapped, wrapping
from .safetensors_file import DTYPES, SafetensorsFile, write

if TYPE_CHECKING:
    from ..hparams import HParams
    from ..template import Template
    from ..tokenizer import Tokenizer

__all__ = ["CONFIG", "INDEX", "WEIGHTS", "fill", "read"]

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
    card: dict[str, Any] = {}
    template: str | None = None
    if kind in llama_config.KINDS:
        hparams, card = llama_config.hparams_of_config(config, folder / CONFIG)
    elif kind == "gpt2":
        hparams, template = read_config(inside(folder, CONFIG))
    else:
        holds = f"it holds a {_short(kind)}" if isinstance(kind, str) else "model_type is missing"
        raise CheckpointError(
            f"{folder / CONFIG}: {holds}; it must be gpt2, {', '.join(llama_config.KINDS)}: "
            "Pellucid computes no other model"
        )
    check_memory(4 * hparams.n_params, folder)
    if source.is_dir():
        sharded = not (folder / WEIGHTS).exists() and (folder / INDEX).exists()
        source = folder / (INDEX if sharded else WEIGHTS)
    if source.name.endswith(".index.json"):
        files = _read_shards(folder, source.name)
    else:
        opened = SafetensorsFile(inside(folder, source.name))
        files = dict.fromkeys(opened.places, opened)
    if isinstance(hparams, LlamaHParams):
        tensors = _llama_tensors(files, hparams, source)
    else:
        tensors = _gpt2_tensors(files, hparams, source)

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
        if _is_padding(hparams.n_vocab, tokenizer.n_vocab) or (
            isinstance(hparams, LlamaHParams) and 0 < hparams.n_vocab - tokenizer.n_vocab <= 1024
        ):
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


def _gpt2_tensors(
    files: Mapping[str, SafetensorsFile], hparams: HParams, source: Path
) -> dict[str, np.ndarray]:
    table = our_names(files, source)
    head = table.pop(LM_HEAD, None)
    _check_dtypes(files, [table[name] for name in shapes(hparams) if name in table], source)
    arrived = {ours: files[theirs].places[theirs].shape for ours, theirs in table.items()}
    check_shapes(arrived, hparams, source)
    if head is not None and _finer_head(files, head, table["wte.weight"], source):
        table["wte.weight"] = head
    return {ours: files[table[ours]].tensor(table[ours]) for ours in shapes(hparams)}


def _llama_tensors(
    files: Mapping[str, SafetensorsFile], hparams: LlamaHParams, source: Path
) -> dict[str, np.ndarray]:
    """Joined as ours are. Left out are a tied head saved a second time, and old files' tables of
    rotary frequencies."""
    wrapped = {plain: name for name, plain in unwrapped(files).items()}
    bare = any(name.startswith("layers.") for name in wrapped)  # saved without its head
    stored = {f"model.{name}" if bare else name: theirs for name, theirs in wrapped.items()}
    stored = {name: theirs for name, theirs in stored.items() if not name.endswith(".inv_freq")}
    if hparams.tied and LM_HEAD in stored:
        _finer_head(files, stored.pop(LM_HEAD), stored["model.embed_tokens.weight"], source)
    parts = parts_of(hparams, HUGGING_FACE)
    check_parts(parts, {name: files[own].places[own].shape for name, own in stored.items()}, source)
    _check_dtypes(files, list(stored.values()), source)
    return {
        ours: joined(each, lambda name: files[stored[name]].tensor(stored[name]))
        for ours, each in parts.items()
    }


def _check_dtypes(files: Mapping[str, SafetensorsFile], names: Iterable[str], source: Path) -> None:
    for name in names:
        dtype = files[name].places[name].dtype
        if dtype not in DTYPES:
            raise CheckpointError(
                f"{source}: tensor {name} has dtype {dtype}; "
                f"parameters may be {', '.join(sorted(DTYPES))}"
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


def _is_padding(n_rows: int, n_vocab: int) -> bool:
    """Whether n_rows is n_vocab rounded up to a multiple of 8, 16, ... 1024, as transformers'
    `pad_to_multiple_of` and training programs do for speed."""
    return n_rows > n_vocab and any(-n_vocab % 2**i == n_rows - n_vocab for i in range(3, 11))


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


# dtype → the largest error of storing a number in it, as a share of the number. Finest first.
_ROUNDING = {"F64": 0.0, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-7}


def _finer_head(
    files: Mapping[str, SafetensorsFile], head: str, embeddings: str, source: Path
) -> bool:
    """Whether the output layer is the embeddings in a finer dtype, and so to be taken for both.

    Raises CheckpointError where they differ by more than the coarser of their dtypes rounds.
    """
    ours, theirs = files[embeddings].stored(embeddings), files[head].stored(head)
    kinds = [files[name].places[name].dtype for name in (embeddings, head)]
    rounding = max(_ROUNDING[kind] for kind in kinds)
    rows = max(1, (1 << 20) // max(1, ours.shape[-1]))  # compared in pieces that fit the cache
    tied = ours.shape == theirs.shape
    for i in range(0, len(ours) if tied else 0, rows):
        if kinds[0] == kinds[1]:
            tied = np.array_equal(ours[i : i + rows], theirs[i : i + rows])
        else:
            one, other = widen(ours[i : i + rows], kinds[0]), widen(theirs[i : i + rows], kinds[1])
            with np.errstate(invalid="ignore"):  # NaN is never close, and is named below
                close = np.abs(one - other) <= rounding * np.abs(other) + 2.0**-24
            tied = bool(close.all())
        if not tied:
            # NaN differs from itself: name it rather than the tie.
            check_finite({LM_HEAD: files[head].tensor(head)}, source)
            break
    if not tied:
        raise CheckpointError(
            f"{source}: lm_head.weight differs from wte.weight; its output layer is the "
            "token embeddings themselves (tied), so this is another kind of model"
        )
    finest = list(_ROUNDING)
    return finest.index(kinds[1]) < finest.index(kinds[0])


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
    if isinstance(hparams, LlamaHParams):
        config = llama_config.config_of(hparams, dtype)
        tensors = {
            part.name: numbers
            for ours, parts in parts_of(hparams, HUGGING_FACE).items()
            for part, numbers in divided(parts, checkpoint.tensors[ours])
        }
    else:
        config = _gpt2_config(hparams, dtype)
        tensors = {PREFIX + name: checkpoint.tensors[name] for name in shapes(hparams)}
    config |= {
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


def _gpt2_config(hparams: HParams, dtype: str) -> dict[str, Any]:
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5,
        "model_type": "gpt2",
        "n_ctx": hparams.n_ctx,
        "n_embd": hparams.n_embd,
        "n_head": hparams.n_head,
        "n_inner": None,
        "n_layer": hparams.n_layer,
        "n_positions": hparams.n_ctx,
        "resid_pdrop": 0.1,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "vocab_size": hparams.n_vocab,
    }


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
