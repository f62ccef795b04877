"""Hugging Face's GPT-2: `config.json`, `model.safetensors` (or shards with an index), tokenizer.

The configuration is a closed table: each key that a GPT-2 is shipped with is known, those that
would change the maths must have the value that Pellucid computes, and any other key is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError
from ..hparams import HParams
from ..weights import shapes
from .contents import (
    READER,
    Checkpoint,
    check_finite,
    check_memory,
    check_shapes,
    check_tokenizer,
    hparams_from,
    inside,
)
from .names import LM_HEAD, PREFIX, our_names
from .safetensors_file import DTYPES, SafetensorsFile, write

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["CONFIG", "INDEX", "WEIGHTS", "fill", "read", "read_config"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MOST_SHARDS = 256
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.safetensors")
_TOKENIZERS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"), ("tokenizer.json",))
_CHAT = "dialogpt"  # the template of models that were trained on conversations

Check = Callable[[Any], bool]


def _one_of(*values: Any) -> Check:
    # `1 == True` in Python, so the kinds are compared too.
    return lambda value: any(value == v and type(value) is type(v) for v in values)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _id(value: Any) -> bool:
    return value is None or _count(value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _table(value: Any) -> bool:
    return value is None or isinstance(value, dict)


_SIZES = {
    "n_vocab": "vocab_size",
    "n_ctx": "n_positions",
    "n_embd": "n_embd",
    "n_head": "n_head",
    "n_layer": "n_layer",
}
# The five sizes are checked by HParams, n_ctx and n_inner against them.
_SIZE_KEYS = frozenset({*_SIZES.values(), "n_ctx", "n_inner"})

# key → the check on its value. What GPT-2, its larger sizes, DistilGPT2 and DialoGPT ship, and
# what transformers 4 and 5 write (GPT2Config.to_dict).
_KNOWN: dict[str, tuple[Check, str]] = {
    # These change the maths.
    "activation_function": (_one_of("gelu_new", "gelu_pytorch_tanh"), "gelu_new"),
    "add_cross_attention": (_one_of(False), "false"),
    "architectures": (
        _one_of(None, ["GPT2LMHeadModel"], ["GPT2Model"]),
        "GPT2LMHeadModel: other heads have weights that Pellucid does not compute with",
    ),
    "is_decoder": (_flag, "true or false"),
    "is_encoder_decoder": (_one_of(False), "false"),
    "layer_norm_epsilon": (_one_of(1e-5), "1e-05"),
    "model_type": (_one_of("gpt2"), "gpt2"),
    "prune_heads": (_one_of({}), "empty"),
    "pruned_heads": (_one_of({}), "empty"),
    "scale_attn_by_inverse_layer_idx": (_one_of(False), "false"),
    "scale_attn_weights": (_one_of(True), "true"),
    "tie_word_embeddings": (_one_of(True), "true"),
    "chunk_size_feed_forward": (_one_of(0), "0"),
    # These matter to training or to other programs only.
    "_from_model_config": (_flag, "true or false"),
    "_name_or_path": (_text, "text"),
    "_num_labels": (_count, "a count"),
    "attn_pdrop": (_share, "between 0 and 1"),
    "bos_token_id": (_id, "a token id"),
    "dtype": (_text, "text"),
    "embd_pdrop": (_share, "between 0 and 1"),
    "eos_token_id": (_id, "a token id"),
    "finetuning_task": (_text, "text"),
    "gradient_checkpointing": (_flag, "true or false"),
    "id2label": (_table, "a table"),
    "initializer_range": (_number, "a number"),
    "label2id": (_table, "a table"),
    "n_special": (_one_of(0), "0"),
    "num_labels": (_count, "a count"),
    "output_attentions": (_flag, "true or false"),
    "output_hidden_states": (_flag, "true or false"),
    "output_past": (_flag, "true or false"),
    "pad_token_id": (_id, "a token id"),
    "predict_special_tokens": (_flag, "true or false"),
    "problem_type": (_text, "text"),
    "reorder_and_upcast_attn": (_flag, "true or false"),  # the order of two roundings
    "resid_pdrop": (_share, "between 0 and 1"),
    "return_dict": (_flag, "true or false"),
    "summary_activation": (_text, "text"),
    "summary_first_dropout": (_share, "between 0 and 1"),
    "summary_proj_to_labels": (_flag, "true or false"),
    "summary_type": (_text, "text"),
    "summary_use_proj": (_flag, "true or false"),
    "task_specific_params": (_table, "a table"),
    "torch_dtype": (_text, "text"),
    "torchscript": (_flag, "true or false"),
    "transformers_version": (_text, "text"),
    "use_bfloat16": (_flag, "true or false"),
    "use_cache": (_flag, "true or false"),
}

_NEVER = {
    "auto_map": "it names Python code to run",
    "_attn_implementation_internal": "it names code to download and run",
    "_attn_implementation": "it names code to download and run",
    "quantization_config": "quantised safetensors are not read; take the unquantised model or GGUF",
}


def read_config(path: Path) -> tuple[HParams, str | None]:
    """The hyperparameters, and the chat template's name where the model was trained on chats.

    Raises CheckpointError naming the key whose value a GPT-2 of Pellucid's cannot have.
    """
    config = READER.read_object(path, 1 << 20)
    for key, value in config.items():
        if key in _NEVER:
            raise CheckpointError(f"{path}: {key} is refused: {_NEVER[key]}")
        if key in _SIZE_KEYS:
            continue
        if key not in _KNOWN:
            raise CheckpointError(
                f"{path}: unknown key {key[:60]!r}: a GPT-2 has none such, and it might change "
                "what the model computes; remove it if you know that it does not"
            )
        check, wanted = _KNOWN[key]
        if not check(value):
            raise CheckpointError(f"{path}: {key} is {_short(value)}; it must be {wanted}")
    if config.get("model_type") != "gpt2":
        raise CheckpointError(f"{path}: model_type is missing; it must be gpt2")
    sizes = {ours: config[theirs] for ours, theirs in _SIZES.items() if theirs in config}
    hparams = hparams_from(sizes, path)
    if config.get("n_ctx", hparams.n_ctx) != hparams.n_ctx:
        raise CheckpointError(
            f"{path}: n_ctx is {_short(config['n_ctx'])} and n_positions {hparams.n_ctx}; "
            "they must be equal"
        )
    if config.get("n_inner") not in (None, 4 * hparams.n_embd):
        raise CheckpointError(
            f"{path}: n_inner is {_short(config['n_inner'])}; it must be 4 * n_embd or null"
        )
    chats = "conversational" in (config.get("task_specific_params") or {})
    return hparams, _CHAT if chats else None


def read(source: Path) -> Checkpoint:
    """source: the folder, or in it the safetensors file or the index to take the weights from."""
    folder = source if source.is_dir() else source.parent
    hparams, template = read_config(inside(folder, CONFIG))
    check_memory(4 * hparams.n_params, folder)
    if source.is_dir():
        sharded = not (folder / WEIGHTS).exists() and (folder / INDEX).exists()
        source = folder / (INDEX if sharded else WEIGHTS)
    if source.name.endswith(".index.json"):
        files = _read_shards(folder, source.name)
    else:
        opened = SafetensorsFile(inside(folder, source.name))
        files = dict.fromkeys(opened.places, opened)

    table = our_names(files, source)
    head = table.pop(LM_HEAD, None)
    for name in shapes(hparams).keys() & table.keys():
        dtype = files[table[name]].places[table[name]].dtype
        if dtype not in DTYPES:
            raise CheckpointError(
                f"{source}: tensor {name} has dtype {dtype}; "
                f"parameters may be {', '.join(sorted(DTYPES))}"
            )
    found = {ours: files[theirs].places[theirs].shape for ours, theirs in table.items()}
    check_shapes(found, hparams, source)
    if head is not None:
        _check_tied(files[head].stored(head), files[table["wte.weight"]], table, source)
    tensors = {ours: files[table[ours]].tensor(table[ours]) for ours in shapes(hparams)}
    check_finite(tensors, source)

    card: dict[str, Any] = {}
    notes = next(iter(files.values())).metadata.get("pellucid")
    if notes is not None:
        template, card = _read_notes(notes, source)
    return Checkpoint(
        hparams=hparams,
        tensors=tensors,
        tokenizer=_tokenizer(folder, hparams),
        card=card,
        template=template,
        path=folder,
    )


def _read_shards(folder: Path, index_name: str) -> dict[str, SafetensorsFile]:
    """The file of each tensor. Every shard holds what the index says, no more and no less."""
    path = inside(folder, index_name)
    index = READER.read_object(path)
    if set(index) - {"metadata"} != {"weight_map"} or not isinstance(index["weight_map"], dict):
        raise CheckpointError(f"{path} must hold a table weight_map, perhaps metadata, no more")
    where = index["weight_map"]
    shards: dict[str, SafetensorsFile] = {}
    names: set[str] = set()
    for name in where.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise CheckpointError(
                f"{path}: {_short(name)} is not the name of a safetensors file in this folder"
            )
        names.add(name)
    if len(names) > MOST_SHARDS:
        raise CheckpointError(f"{path} names {len(names)} files; at most {MOST_SHARDS} are read")
    for name in sorted(names):
        shards[name] = shard = SafetensorsFile(inside(folder, name))
        listed = {tensor for tensor, home in where.items() if home == name}
        if listed != set(shard.places):
            odd = sorted(listed ^ set(shard.places))[0]
            raise CheckpointError(
                f"{path} and {name} disagree about tensor {_short(odd)}: "
                "is a file of another model among them?"
            )
    return {tensor: shards[name] for tensor, name in where.items()}


def _check_tied(
    head: np.ndarray, file: SafetensorsFile, table: Mapping[str, str], source: Path
) -> None:
    wte = file.stored(table["wte.weight"])
    same = head.shape == wte.shape and head.dtype == wte.dtype
    rows = max(1, (1 << 20) // max(1, wte.shape[-1]))  # compared in pieces that fit the cache
    if not same or any(
        not np.array_equal(head[i : i + rows], wte[i : i + rows]) for i in range(0, len(wte), rows)
    ):
        # NaN differs from itself: name it rather than the tie.
        check_finite({"lm_head.weight": head}, source)
        raise CheckpointError(
            f"{source}: lm_head.weight differs from wte.weight; GPT-2's output layer is the "
            "token embeddings themselves (tied), so this is another kind of model"
        )


def _tokenizer(folder: Path, hparams: HParams) -> Tokenizer | None:
    for names in _TOKENIZERS:
        if all((folder / name).exists() for name in names):
            for name in names:
                inside(folder, name)
            from ..tokenizer import Tokenizer

            tokenizer = Tokenizer.from_folder(folder)
            check_tokenizer(tokenizer, hparams, folder)
            return tokenizer
    return None


def _read_notes(notes: str, source: Path) -> tuple[str | None, dict[str, Any]]:
    """What `fill` put beside the weights for Pellucid; other programs pass over it."""
    table = READER.parse_object(notes.encode(), f"{source}: the metadata `pellucid`")
    template, card = table.get("template"), table.get("card")
    if set(table) != {"template", "card"} or not _text(template) or not isinstance(card, dict):
        raise CheckpointError(f"{source}: the metadata `pellucid` must be a template and a card")
    return template, card


def fill(folder: Path, checkpoint: Checkpoint, dtype: str) -> None:
    """Write the files that `transformers` loads into an empty folder."""
    hparams, tokenizer = checkpoint.hparams, checkpoint.tokenizer
    end = tokenizer.end_of_text if tokenizer is not None else None
    config = {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": end,
        "embd_pdrop": 0.1,
        "eos_token_id": end,
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
    notes = {"template": checkpoint.template, "card": dict(checkpoint.card)}
    write(
        folder / WEIGHTS,
        {PREFIX + name: checkpoint.tensors[name] for name in shapes(hparams)},
        dtype=dtype,
        metadata={"format": "pt", "pellucid": json.dumps(notes, sort_keys=True)},
    )
    (folder / CONFIG).write_bytes((json.dumps(config, indent=2) + "\n").encode())
    if tokenizer is None:
        return
    tokenizer.save(folder)
    # What the tokenizer wrote there (its special tokens), and what belongs to the model.
    settings: dict[str, Any] = READER.read_object(folder / "tokenizer_config.json") | {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": hparams.n_ctx,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
    }
    if end is not None:
        text = next(text for text, token in tokenizer.special_tokens.items() if token == end)
        settings |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), text)
    (folder / "tokenizer_config.json").write_bytes((json.dumps(settings, indent=2) + "\n").encode())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
