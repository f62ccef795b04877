"""A tokenizer's files: vocab.json and merges.txt, or tokenizer.json, and what stands beside them.

Files that would split or spell text otherwise than GPT-2 are refused. Formats: openai/gpt-2
(encoder.json, vocab.bpe), Hugging Face `tokenizers` (tokenizer.json), `transformers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TokenizerError
from ..files import Reader, write_file
from .bpe import SPLIT, byte_symbols

__all__ = ["Tables", "read_folder", "read_vocabulary", "write_folder"]

_READER = Reader(error=TokenizerError)
_MARKED = re.compile(r"<[^<>\s]+>|\[[A-Z]+\]")  # how special tokens are written: </s>, [PAD]
_ROLES = {
    *(f"{role}_token" for role in ("bos", "cls", "eos", "mask", "pad", "sep", "unk")),
    *("additional_special_tokens", "extra_special_tokens"),
}
_NO_SEPARATOR = bytes(byte for byte in range(256) if byte not in b" \r\n")
_MOST_BYTES = 64 << 20  # of a tokenizer file; GPT-2's have 1 MB


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What the files hold, as they hold it: `Tokenizer` checks it.

    vocab: token -> id, spelled by `byte_symbols`. merges: pairs, the first learned first.
    special: token -> id, written as plain text.
    """

    vocab: Mapping[str, int]
    merges: list[tuple[str, str]]
    special: Mapping[str, int]


def read_vocabulary(
    vocab: Path,
    merges: Path,
    special: Mapping[str, int] | None = None,
    named: Collection[str] = (),
) -> Tables:
    """encoder.json and vocab.bpe (OpenAI) or vocab.json and merges.txt (Hugging Face).

    special: more special tokens than those that no merge makes and that are `named`, or written
    <|like this|>, <this> or [THIS]; these are taken from the vocabulary.
    """
    table = _read_json(vocab)
    pairs = _read_merges(merges)
    products = {left + right for left, right in pairs}.union(byte_symbols())
    specials = {
        text: token
        for text, token in table.items()
        if text not in products and (text in named or _MARKED.fullmatch(text))
    }
    specials |= {
        text: token
        for text, token in (special or {}).items()
        if text not in products or table.get(text) != token  # else as ordinary as any
    }
    return Tables(vocab=table, merges=pairs, special=specials)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Two tokens a line, after a line with the version."""
    try:
        text = _read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} is not UTF-8 text: {error}") from error
    if text.startswith("#version"):
        text = text.partition("\n")[2]
    between = text.encode().translate(None, _NO_SEPARATOR)
    if between == b" \n" * (len(between) // 2):  # every line as it should be: all at once
        words = text.replace("\n", " ").split(" ")
        return list(zip(words[:-1:2], words[1::2], strict=True))
    pairs = []
    for number, line in enumerate(text.split("\n")):
        if not line.strip("\r"):
            continue
        left, space, right = line.strip("\r").partition(" ")
        if not space or " " in right:
            raise TokenizerError(f"{path}: merge {number} is not two tokens: {line[:80]!r}")
        pairs.append((left, right))
    return pairs


def read_folder(folder: Path) -> Tables:
    """A model's folder: vocab.json + merges.txt, encoder.json + vocab.bpe, or tokenizer.json.

    Beside the first, the files in which Hugging Face's library lists special tokens are read
    where they exist. Raises TokenizerError when there is none, or it is not GPT-2's kind.
    """
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocab, merges = folder / "vocab.json", folder / "merges.txt"
        return read_vocabulary(vocab, merges, _listed_special(folder), _named_special(folder))
    if (folder / "encoder.json").is_file() and (folder / "vocab.bpe").is_file():
        return read_vocabulary(folder / "encoder.json", folder / "vocab.bpe")
    if (folder / "tokenizer.json").is_file():
        return _read_tokenizer_json(folder / "tokenizer.json")
    raise TokenizerError(
        f"{folder} holds no tokenizer: it needs vocab.json and merges.txt, encoder.json and "
        "vocab.bpe, or tokenizer.json"
    )


def write_folder(folder: Path, tables: Tables, end_of_text: str | None) -> None:
    """vocab.json, merges.txt, special_tokens.json, and tokenizer_config.json for `transformers`,
    each whole or not at all. end_of_text: the special token that begins and ends a document."""
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    by_id = sorted((token, text) for text, token in tables.special.items())
    config: dict[str, Any] = {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token): {"content": text, **flags, "special": True} for token, text in by_id
        },
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "GPT2Tokenizer",
    }
    config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), end_of_text)
    merges = "".join(f"{left} {right}\n" for left, right in tables.merges)
    _write(folder / "vocab.json", json.dumps(tables.vocab, ensure_ascii=False))
    _write(folder / "merges.txt", "#version: 0.2\n" + merges)
    _write(folder / "special_tokens.json", json.dumps(tables.special, ensure_ascii=False))
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")


def _read_tokenizer_json(path: Path) -> Tables:
    table = _read_json(path)
    special = _check_tokenizer_json(path, table)
    vocab, merges = table["model"].get("vocab"), table["model"].get("merges")
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        raise TokenizerError(f"{path} lacks vocab or merges")
    pairs = []
    for rank, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or [type(part) for part in pair] != [str, str]:
            raise TokenizerError(f"{path}: merge {rank} is not two tokens")
        pairs.append((pair[0], pair[1]))
    return Tables(vocab=vocab, merges=pairs, special=special)


def _listed_special(folder: Path) -> dict[str, Any]:
    """The special tokens that the files beside vocab.json list, with their ids.

    Refuses a tokenizer of another kind. Chat templates in these files are not looked at.
    """
    special: dict[str, Any] = {}
    for name in ("special_tokens.json", "added_tokens.json"):
        if (folder / name).is_file():
            special |= _read_json(folder / name)
    path = folder / "tokenizer.json"
    if path.is_file():
        special |= _check_tokenizer_json(path, _read_json(path))
    path = folder / "tokenizer_config.json"
    if path.is_file():
        config = _read_json(path)
        if config.get("add_prefix_space"):
            raise TokenizerError(f"{path}: add_prefix_space gives other ids than GPT-2's")
        kind = config.get("tokenizer_class") or "GPT2Tokenizer"
        if kind not in ("GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast",
                        "TokenizersBackend"):  # fmt: skip
            raise TokenizerError(f"{path}: {kind!r} is not GPT-2's tokenizer")
        added = config.get("added_tokens_decoder") or {}
        if not isinstance(added, dict):
            raise TokenizerError(f"{path}: added_tokens_decoder must be a table")
        for token, entry in added.items():
            if not token.isascii() or not token.isdigit() or len(token) > 9:
                raise TokenizerError(f"{path}: {token[:20]!r} in added_tokens_decoder is no id")
            special[_content(path, entry)] = int(token)
    return special


def _named_special(folder: Path) -> set[str]:
    """The texts that special_tokens_map.json and tokenizer_config.json give a role, without ids:
    `transformers` looks those up in the vocabulary."""
    named: set[str] = set()
    for path in (folder / "special_tokens_map.json", folder / "tokenizer_config.json"):
        table = _read_json(path) if path.is_file() else {}
        for role in _ROLES & table.keys():
            entry = table[role]
            if isinstance(entry, dict) and "content" not in entry:  # role → token, in newer files
                entry = list(entry.values())
            for each in entry if isinstance(entry, list) else [entry]:
                text = each.get("content") if isinstance(each, dict) else each
                if text is not None and not isinstance(text, str):
                    raise TokenizerError(f"{path}: {role} must be a text, not {text!r}")
                named |= {text} if text else set()
    return named


def _content(path: Path, entry: Any) -> str:
    """The text of an added token, which must be found as it stands."""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise TokenizerError(f"{path}: malformed entry among the added tokens")
    content: str = entry["content"]
    for flag in ("lstrip", "rstrip", "single_word"):
        if entry.get(flag):
            raise TokenizerError(f"{path}: added token {content!r} has {flag}, unlike GPT-2's")
    return content


# As openai/gpt-2 writes SPLIT, and as we do.
_SAME_SPLIT = (
    {"Regex": SPLIT},
    {"Regex": "'s|'t|'re|'ve|'m|'ll|'d" + SPLIT[SPLIT.index("| ?") :]},
)


def _check_tokenizer_json(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Refuses what would split or spell text otherwise than GPT-2. -> its special tokens"""
    model = table.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise TokenizerError(f"{path} is not byte-pair encoding")
    foreign = {"normalizer": table.get("normalizer")}
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
                 "ignore_merges"):  # fmt: skip
        foreign[name] = model.get(name)
    if wrong := [name for name, value in foreign.items() if value]:
        raise TokenizerError(f"{path} has a {wrong[0]}, which GPT-2's tokenizer has not")
    before, pattern = table.get("pre_tokenizer"), None
    if isinstance(before, dict) and before.get("type") == "Sequence":
        steps = before.get("pretokenizers")
        if isinstance(steps, list) and len(steps) == 2 and isinstance(steps[0], dict):
            first, before = steps
            if first.get("type") == "Split" and first.get("behavior") == "Isolated":
                pattern = first.get("pattern") if not first.get("invert") else None
    if (
        not isinstance(before, dict)
        or before.get("type") != "ByteLevel"
        or before.get("add_prefix_space", True) is not False
        or before.get("use_regex", True) is not (pattern is None)
        or (pattern is not None and pattern not in _SAME_SPLIT)
    ):
        raise TokenizerError(
            f"{path} splits text differently from GPT-2 (its pre_tokenizer must be ByteLevel "
            "with add_prefix_space false and GPT-2's own pattern)"
        )
    after = table.get("decoder")
    if after is not None and (not isinstance(after, dict) or after.get("type") != "ByteLevel"):
        raise TokenizerError(f"{path} does not decode as GPT-2 does: its decoder is not ByteLevel")
    added = table.get("added_tokens") or []
    if not isinstance(added, list):
        raise TokenizerError(f"{path}: added_tokens must be a list")
    return {_content(path, entry): entry.get("id") for entry in added}


def _read(path: Path) -> bytes:
    if not path.exists():
        raise TokenizerError(f"there is no file {path}")
    return _READER.read_bytes(path, _MOST_BYTES)


def _read_json(path: Path) -> dict[str, Any]:
    return _READER.parse_object(_read(path), str(path))


def _write(path: Path, text: str) -> None:
    write_file(path, text.encode(), error=None)
