"""Models in llama.cpp's file format, GGUF; of GPT-2 also names, hyperparameters and vocabulary."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isclose, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError, TokenizerError
from ..hparams import HParams
from ..weights import shapes
from . import gguf_llama
from .contents import (
    READER,
    Checkpoint,
    Roles,
    check_finite,
    check_memory,
    check_shapes,
    check_tokenizer,
    hparams_from,
    padding_note,
)
from .gguf_file import GgufFile, Header, TensorInfo

if TYPE_CHECKING:
    from ..tokenizer import Added, Tokenizer

__all__ = ["ARCHITECTURE", "NOTES", "gguf_names", "read"]

ARCHITECTURE = "gpt2"
NOTES = "pellucid.checkpoint"  # what `gguf_writing` adds for us, as JSON: template, card, roles
_LAYER_NORM_EPSILON = 1e-5

# Ours → llama.cpp's, and whether it is stored [out, in] where GPT-2 has [in, out].
_BLOCK = {
    "ln_1": ("attn_norm", False),
    "attn.c_attn": ("attn_qkv", True),
    "attn.c_proj": ("attn_output", True),
    "ln_2": ("ffn_norm", False),
    "mlp.c_fc": ("ffn_up", True),
    "mlp.c_proj": ("ffn_down", True),
}
_OUTER = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
_EMBEDDINGS = "token_embd.weight"
_OUTPUT = "output.weight"  # the tied output layer, which older converters wrote a second time

# Kinds of token (tokenizer.ggml.token_type) that text does not simply spell.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5


def gguf_names(hparams: HParams) -> dict[str, tuple[str, bool]]:
    """Our names → (llama.cpp's, stored transposed): `h.0.attn.c_attn.weight` →
    (`blk.0.attn_qkv.weight`, True)."""
    table = {}
    for name in shapes(hparams):
        path, last = name.rsplit(".", 1)
        if path in _OUTER:
            table[name] = (f"{_OUTER[path]}.{last}", False)
        else:
            _, layer, part = path.split(".", 2)
            other, transposed = _BLOCK[part]
            table[name] = (f"blk.{layer}.{other}.{last}", transposed and last == "weight")
    return table


class _Metadata:
    """Metadata values by key, of the type asked for."""

    def __init__(self, values: Mapping[str, Any], source: Path) -> None:
        self.values = values
        self.source = source

    def _get(self, key: str, fits: Callable[[Any], bool], kind: str) -> Any:
        if key not in self.values:
            raise CheckpointError(f"{self.source}: metadata key {key!r} is missing")
        value = self.values[key]
        if not fits(value):
            raise CheckpointError(f"{self.source}: metadata key {key!r} is not {kind}")
        return value

    def integer(self, key: str) -> int:
        fits = lambda value: isinstance(value, int) and not isinstance(value, bool)  # noqa: E731
        return int(self._get(key, fits, "an integer"))

    def flag(self, key: str) -> bool:
        fits = lambda value: isinstance(value, bool)  # noqa: E731
        return key in self.values and bool(self._get(key, fits, "true or false"))

    def number(self, key: str) -> float:
        return float(self._get(key, lambda value: isinstance(value, float), "a float"))

    def string(self, key: str) -> str:
        return self._text(self._get(key, lambda value: isinstance(value, bytes), "a string"), key)

    def strings(self, key: str) -> list[str]:
        values = self._get(key, lambda value: isinstance(value, list), "a list of strings")
        return [self._text(value, key) for value in values]

    def _text(self, value: bytes, key: str) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.source}: {key!r} holds text that is not UTF-8") from None


def _hparams(metadata: _Metadata, header: Header) -> HParams:
    source = metadata.source
    _check_whole_model(metadata)
    architecture = metadata.string("general.architecture")
    if architecture != ARCHITECTURE:
        known = ", ".join((ARCHITECTURE, *gguf_llama.ARCHITECTURES))
        raise CheckpointError(
            f"{source}: holds a model of architecture {architecture!r}; Pellucid reads {known}"
        )
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings is None or len(embeddings.shape) != 2:
        raise CheckpointError(f"{source}: tensor 'token_embd.weight' is missing or no matrix")
    hparams = hparams_from(
        {
            "n_vocab": embeddings.shape[0],
            "n_ctx": metadata.integer("gpt2.context_length"),
            "n_embd": metadata.integer("gpt2.embedding_length"),
            "n_head": metadata.integer("gpt2.attention.head_count"),
            "n_layer": metadata.integer("gpt2.block_count"),
        },
        source,
    )
    fixed = {
        "gpt2.feed_forward_length": 4 * hparams.n_embd,
        "gpt2.attention.head_count_kv": hparams.n_head,
        "gpt2.vocab_size": hparams.n_vocab,
    }
    for key, wanted in fixed.items():
        if (key in metadata.values or "forward" in key) and metadata.integer(key) != wanted:
            raise CheckpointError(
                f"{source}: {key} is {metadata.integer(key)}; a GPT-2 of this shape has {wanted}"
            )
    epsilon = metadata.number("gpt2.attention.layer_norm_epsilon")
    if not isclose(epsilon, _LAYER_NORM_EPSILON, rel_tol=1e-6):  # stored as float32
        raise CheckpointError(
            f"{source}: layer_norm_epsilon is {epsilon:g}; GPT-2's is {_LAYER_NORM_EPSILON:g}"
        )
    return hparams


def _check_whole_model(metadata: _Metadata) -> None:
    """One file of several, or no model at all: named as what it is."""
    source, kind = metadata.source, metadata.values.get("general.type", b"model")
    if kind != b"model":
        raise CheckpointError(
            f"{source} holds {metadata.string('general.type')!r}, no model: give the model that it "
            "belongs to (a LoRA adapter is merged by llama.cpp's llama-export-lora)"
        )
    if metadata.values.get("split.count", 0) not in (0, 1):
        raise CheckpointError(
            f"{source} is one of {metadata.integer('split.count')} parts: put them together with "
            "llama.cpp's `llama-gguf-split --merge FIRST-PART whole.gguf`"
        )


def _id(metadata: _Metadata, role: str) -> int | None:
    """A token's id, checked, or None where the file names none."""
    key = f"tokenizer.ggml.{role}"
    if key not in metadata.values:
        return None
    token, n_tokens = metadata.integer(key), len(metadata.values["tokenizer.ggml.tokens"])
    if not 0 <= token < n_tokens:
        raise CheckpointError(f"{metadata.source}: {key!r} is {token}; there are {n_tokens} tokens")
    return token


def _n_padding(tokens: list[str], kinds: np.ndarray) -> int:
    """How many of the last tokens are llama.cpp's [PAD0], [PAD1] ...: rows without a token."""
    n = 0
    for i in range(len(tokens) - 1, -1, -1):
        if tokens[i] != f"[PAD{i}]" or kinds[i] not in (_UNUSED, _USER_DEFINED):
            break
        n += 1
    return n


def _notes(metadata: _Metadata) -> tuple[str | None, dict[str, Any], dict[str, Any] | None]:
    """What `gguf_writing` put there for Pellucid -> template, card, and roles where it says some;
    of other files the name alone."""
    if NOTES not in metadata.values:
        named = "general.name" in metadata.values
        return None, {"name": metadata.string("general.name")} if named else {}, None
    source = f"{metadata.source}: the metadata {NOTES!r}"
    table = READER.parse_object(metadata.string(NOTES).encode(), source)
    template, card, roles = (table.get(key) for key in ("template", "card", "roles"))
    if set(table) != {"template", "card", "roles"} or not (
        isinstance(template, str | None) and isinstance(card, dict) and isinstance(roles, dict)
    ):
        raise CheckpointError(f"{source} must be a template, a card and roles")
    return template, card, roles


def _roles(metadata: _Metadata, n_vocab: int, notes: Mapping[str, Any] | None) -> Roles:
    """A chat's end of turn (eot) ends a text too, as it does for llama.cpp."""
    if notes is not None:
        return Roles.of(notes, n_vocab, str(metadata.source))
    ends = [_id(metadata, f"{role}_token_id") for role in ("eos", "eot", "eom")]
    values = {
        "bos": _id(metadata, "bos_token_id"),
        "eos": ends,
        "pad": _id(metadata, "padding_token_id"),
        "unk": _id(metadata, "unknown_token_id"),
    }
    return Roles.of(values, n_vocab, str(metadata.source))


def _tokenizer(metadata: _Metadata) -> Tokenizer:
    from ..tokenizer import Added, Rules, Tokenizer, byte_symbols
    from ..tokenizer.rules import padding

    source = metadata.source
    if (model := metadata.string("tokenizer.ggml.model")) != "gpt2":
        raise CheckpointError(f"{source}: its tokenizer is {model!r}, not GPT-2's byte-level BPE")
    key = "tokenizer.ggml.pre"  # files from before April 2024 do not say, and mean GPT-2's
    if key in metadata.values and (pre := metadata.string(key)) != "gpt-2":
        raise CheckpointError(f"{source}: splits text by the rule {pre!r}, not by GPT-2's")
    tokens = metadata.strings("tokenizer.ggml.tokens")
    vocab = {token: i for i, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise CheckpointError(f"{source}: a token occurs twice in tokenizer.ggml.tokens")
    merges = []
    for line in metadata.strings("tokenizer.ggml.merges"):
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise CheckpointError(f"{source}: {line[:60]!r} is not a merge of two tokens")
        merges.append((left, right))
    products = {left + right for left, right in merges}.union(byte_symbols())
    special: dict[str, int] = {}
    found_anyway: dict[str, Added] = {}
    key = "tokenizer.ggml.token_type"
    if key in metadata.values:
        kinds = metadata.values[key]
        if not isinstance(kinds, np.ndarray) or kinds.size != len(tokens):
            raise CheckpointError(f"{source}: {key!r} is not one number for each token")
        padded = _n_padding(tokens, kinds)
        for i in map(int, np.flatnonzero(np.isin(kinds, (_CONTROL, _USER_DEFINED, _UNUSED)))):
            if i >= len(tokens) - padded:
                del vocab[tokens[i]]
            elif kinds[i] != _CONTROL and tokens[i] == padding(i):
                continue  # a row without a token between others
            elif kinds[i] == _USER_DEFINED and tokens[i] not in products:
                found_anyway[tokens[i]] = Added(id=i, special=False)  # as llama.cpp finds them
            else:
                special[tokens[i]] = i
    for role in ("bos", "eos", "eot", "padding", "unknown"):  # where no kind says it is special
        token = _id(metadata, f"{role}_token_id")
        if token is not None and tokens[token] in vocab and tokens[token] not in products:
            special.setdefault(tokens[token], token)
    begin, end = (
        (token,) if metadata.flag(f"tokenizer.ggml.add_{role}_token") and token is not None else ()
        for role, token in ((r, _id(metadata, f"{r}_token_id")) for r in ("bos", "eos"))
    )
    rules = Rules(begin=begin, end=end, added=found_anyway)
    try:
        return Tokenizer(vocab, merges, special, rules)
    except TokenizerError as error:
        raise CheckpointError(f"{source}: {error}") from error


def _finer_output(file: GgufFile, output: TensorInfo, wte: TensorInfo) -> np.ndarray | None:
    """The output layer, where it is the embeddings in a finer kind of numbers: what to take for
    both. (llama-quantize leaves it at Q6_K where it makes the embeddings Q4_0.)

    Raises CheckpointError where a row differs by more than the two kinds' rounding.
    """
    tied, finer = output.shape == wte.shape, None
    if tied and output.type == wte.type:
        tied = np.array_equal(file.stored(_OUTPUT), file.stored(_EMBEDDINGS))
    elif tied:
        check_memory(8 * prod(wte.shape), file.path)
        ours, theirs = file.tensor(_EMBEDDINGS), file.tensor(_OUTPUT)
        check_finite({_EMBEDDINGS: ours, _OUTPUT: theirs}, file.path)
        most = _rounding(wte.type) + _rounding(output.type)
        apart = np.linalg.norm(ours - theirs, axis=1)
        tied = bool((apart <= most * np.linalg.norm(theirs, axis=1) + 1e-6).all())
        finer = theirs if _rounding(output.type) < _rounding(wte.type) else None
    if not tied:
        raise CheckpointError(
            f"{file.path}: {_OUTPUT} differs from token_embd.weight; GPT-2's output layer is tied "
            "to its embeddings"
        )
    return finer


def _rounding(kind: str) -> float:
    """The largest error of a row stored as this kind, as a share of its norm.

    Of numbers spread as a normal distribution, b bits with one scale for 32 numbers leave an error
    of about 0.08 * 2^(4 - b); twice that is allowed.
    """
    floats = {"F64": 0.0, "F32": 2.0**-24, "F16": 2.0**-10, "BF16": 2.0**-7}
    if kind in floats:
        return floats[kind]
    bits = re.search(r"[1-9]", kind)
    return min(0.5, 0.16 * 2.0 ** (4 - int(bits[0]))) if bits else 0.5


def _gpt2_tensors(file: GgufFile, hparams: HParams) -> dict[str, np.ndarray]:
    path, stored = file.path, dict(file.header.tensors)
    names = gguf_names(hparams)
    output = stored.pop(_OUTPUT, None)
    ours = {other: (name, transposed) for name, (other, transposed) in names.items()}
    arrived = {}
    for other, info in stored.items():
        name, transposed = ours.get(other, (other, False))
        arrived[name] = info.shape[::-1] if transposed else info.shape
    check_shapes(arrived, hparams, path)
    finer = None
    if output is not None:
        finer = _finer_output(file, output, stored["token_embd.weight"])
    check_memory(sum(4 * prod(info.shape) for info in stored.values() if info.type != "F32"), path)

    tensors = {}
    for name, (other, transposed) in names.items():
        numbers = finer if finer is not None and name == "wte.weight" else file.tensor(other)
        check_finite({other: numbers}, path)
        tensors[name] = numbers.T if transposed else numbers
    return tensors


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """A GPT-2 or a Llama in a GGUF file, as llama.cpp's `convert_hf_to_gguf.py` and
    `llama-quantize` write it.

    The tensors are float32 by our names and shapes: views of the memory-mapped file where it
    holds float32 (linear maps transposed by the view), else dequantised here. F32, F16 and BF16
    need no further package, the quantised kinds need the extra [gguf]. Raises CheckpointError: the
    file is malformed or cut short; another architecture, tokenizer or ε; tensors missing, extra
    or misshapen; an `output.weight` that is not the token embeddings; NaN or infinity.
    """
    file = GgufFile(path)
    path = file.path
    metadata = _Metadata(file.header.metadata, path)
    about: dict[str, Any] = {}
    hparams: HParams
    if (kind := metadata.string("general.architecture")) in gguf_llama.ARCHITECTURES:
        _check_whole_model(metadata)
        llama, about = gguf_llama.read_hparams(metadata, file)
        hparams, tensors = llama, gguf_llama.read_tensors(file, llama, kind)
    else:
        hparams = _hparams(metadata, file.header)
        tensors = _gpt2_tensors(file, hparams)
    template, card, notes = _notes(metadata)
    card |= about
    tokenizer = None
    if _has_tokenizer(metadata):
        tokenizer = _tokenizer(metadata)
        padded = len(metadata.values["tokenizer.ggml.tokens"]) - tokenizer.n_vocab
        if padded and tokenizer.n_vocab + padded == hparams.n_vocab:
            card["padding"] = padding_note(hparams.n_vocab, tokenizer.n_vocab)
            hparams = replace(hparams, n_vocab=tokenizer.n_vocab)
            for name in {"wte.weight", "lm_head.weight"} & set(tensors):
                tensors[name] = tensors[name][: hparams.n_vocab]
        check_tokenizer(tokenizer, hparams, path)
    return Checkpoint(
        hparams=hparams,
        tensors=tensors,
        tokenizer=tokenizer,
        card=card,
        template=template,
        path=path,
        roles=_roles(metadata, hparams.n_vocab, notes) if tokenizer is not None else Roles(),
    )


def _has_tokenizer(metadata: _Metadata) -> bool:
    """llama.cpp writes the kind "none" for a model that came without one; others write nothing."""
    key = "tokenizer.ggml.model"
    if not any(name.startswith("tokenizer.ggml.") for name in metadata.values):
        return False
    return metadata.values.get(key) != b"none"
