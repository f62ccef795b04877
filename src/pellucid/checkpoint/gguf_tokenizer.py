"""The tokenizer in a GGUF file, and which of its tokens play a part.

The file names how texts are cut into words (`tokenizer.ggml.pre`); what the names stand for is a
table in `tokenizer.splits`. A tokenizer that is not computed here leaves the model its ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError, TokenizerError
from .contents import Roles
from .gguf_file import Metadata

if TYPE_CHECKING:
    from ..tokenizer import Added, Tokenizer

__all__ = ["read_roles", "read_tokenizer"]

_KINDS = {"llama": "SentencePiece's (kind 'llama')", "t5": "SentencePiece's unigrams (kind 't5')"}

# Kinds of token (tokenizer.ggml.token_type) that text does not simply spell.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5


def read_roles(metadata: Metadata, n_vocab: int, notes: Mapping[str, Any] | None) -> Roles:
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


def read_tokenizer(metadata: Metadata) -> Tokenizer | str | None:
    """None where the file has none; a text where it is none that is computed here: what it is.

    Raises CheckpointError where it is damaged.
    """
    from ..tokenizer import Added, Rules, Tokenizer, byte_symbols
    from ..tokenizer.pairs import pairs_of
    from ..tokenizer.rules import padding
    from ..tokenizer.splits import GGML

    if not _has_tokenizer(metadata):
        return None
    source = metadata.source
    if (model := metadata.string("tokenizer.ggml.model")) != "gpt2":
        kind = _KINDS.get(model, f"of the kind {model!r}")
        return f"its tokenizer is {kind}, and Pellucid computes byte-level BPE"
    pre = _pre(metadata)
    if pre not in GGML:
        return f"its tokenizer cuts texts by the rule {pre!r}; Pellucid knows {', '.join(GGML)}"
    tokens = metadata.strings("tokenizer.ggml.tokens")
    vocab = {token: i for i, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise CheckpointError(f"{source}: a token occurs twice in tokenizer.ggml.tokens")
    lines = metadata.strings("tokenizer.ggml.merges")
    try:
        merges = pairs_of(lines)
    except ValueError as error:
        line = lines[error.args[0]]
        raise CheckpointError(f"{source}: {line[:60]!r} is not a merge of two tokens") from error
    products = {*map("".join, merges), *byte_symbols()}
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
    known = GGML[pre]
    begin, end = (
        (token,) if token is not None and metadata.flag(key, otherwise) else ()
        for token, key, otherwise in (
            (_id(metadata, "bos_token_id"), "tokenizer.ggml.add_bos_token", known.begins),
            (_id(metadata, "eos_token_id"), "tokenizer.ggml.add_eos_token", False),
        )
    )
    rules = Rules(
        begin=begin,
        end=end,
        steps=known.steps,
        added=found_anyway,
        ignore_merges=known.ignore_merges,
        nfc=known.nfc,
    )
    try:
        return Tokenizer(vocab, merges, special, rules)
    except TokenizerError as error:
        raise CheckpointError(f"{source}: {error}") from error


def _pre(metadata: Metadata) -> str:
    """How texts are cut. GPT-2's files from before April 2024 do not say."""
    key = "tokenizer.ggml.pre"
    if key not in metadata.values and metadata.string("general.architecture") == "gpt2":
        return "gpt-2"
    return metadata.string(key) if key in metadata.values else "(not named)"


def _has_tokenizer(metadata: Metadata) -> bool:
    """llama.cpp writes the kind "none" for a model that came without one; others write nothing."""
    key = "tokenizer.ggml.model"
    if not any(name.startswith("tokenizer.ggml.") for name in metadata.values):
        return False
    return metadata.values.get(key) != b"none"


def _id(metadata: Metadata, role: str) -> int | None:
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
