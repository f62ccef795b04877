"""A tokenizer's files: vocab.json and merges.txt, or tokenizer.json, and what stands beside them.

Files that would split or spell text in a way that is not computed here are refused. Formats:
openai/gpt-2 (encoder.json, vocab.bpe), `tokenizers` (tokenizer.json), `transformers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import TokenizerError
from ..files import Reader, write_file
from .bpe import byte_symbols
from .pairs import pairs_of
from .rules import GPT2, SPACE, Added, Rules, in_one_pass, padding
from .tokenizer_json import WAY_ON, Parsed, added_token, build, flags, parse

__all__ = ["Tables", "named_roles", "read_folder", "read_vocabulary", "write_folder"]

_READER = Reader(error=TokenizerError)
_MARKED = re.compile(r"<[^<>\s]+>|\[[A-Z]+\]")  # how special tokens are written: </s>, [PAD]
_ROLES = {
    *(f"{role}_token" for role in ("bos", "cls", "eos", "mask", "pad", "sep", "unk")),
    *("additional_special_tokens", "extra_special_tokens"),
}
_GPT2 = ("GPT2Tokenizer", "GPT2TokenizerFast")
_CLASSES = (*_GPT2, "PreTrainedTokenizerFast", "TokenizersBackend")
_MOST_BYTES = 64 << 20  # of a tokenizer file; GPT-2's have 1 MB


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What the files hold, as they hold it: `Tokenizer` checks it.

    vocab: token → id, spelled by `byte_symbols`. merges: pairs, the first learned first.
    special: token → id, written as plain text. rules: what else is done to a text.
    """

    vocab: Mapping[str, int]
    merges: list[tuple[str, str]]
    special: Mapping[str, int]
    rules: Rules = field(default_factory=Rules)


def read_vocabulary(
    vocab: Path,
    merges: Path,
    special: Mapping[str, int] | None = None,
) -> Tables:
    """encoder.json and vocab.bpe (OpenAI) or vocab.json and merges.txt (Hugging Face).

    special: more special tokens than those that no merge makes and that are written
    <|like this|>, <this> or [THIS]; these are taken from the vocabulary.
    """
    added = {text: Added(id=token) for text, token in (special or {}).items()}
    return _tables(_read_json(vocab), _read_merges(merges), added, by_looks=True)


def read_folder(folder: Path) -> Tables:
    """A model's folder: vocab.json + merges.txt, encoder.json + vocab.bpe, or tokenizer.json.

    Beside them, the files in which Hugging Face's library keeps special tokens and settings are
    read where they exist. Raises TokenizerError when there is none, it is not GPT-2's kind, or
    two files disagree.
    """
    json_path = folder / "tokenizer.json"
    parsed = parse(json_path, _read_json(json_path)) if json_path.is_file() else None
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocab = _read_json(folder / "vocab.json")
        merges = _read_merges(folder / "merges.txt")
        if parsed is not None:
            _check_agreement(folder, vocab, merges, parsed)
    elif (folder / "encoder.json").is_file() and (folder / "vocab.bpe").is_file():
        return read_vocabulary(folder / "encoder.json", folder / "vocab.bpe")
    elif parsed is not None:
        if parsed.vocab is None or parsed.merges is None:
            raise TokenizerError(f"{json_path} lacks vocab or merges")
        vocab, merges = dict(parsed.vocab), parsed.merges
    else:
        raise TokenizerError(
            f"{folder} holds no tokenizer: it needs vocab.json and merges.txt, encoder.json and "
            "vocab.bpe, or tokenizer.json"
        )
    added = _listed(folder, parsed)
    nfc = parsed is not None and parsed.nfc
    roles = named_roles(folder)
    by_looks = parsed is None and not (folder / "special_tokens.json").is_file()
    named = {text for texts in roles.values() for text in texts}
    tables = _tables(vocab, merges, added, named, by_looks=by_looks, nfc=nfc)
    rules = _settings(folder, parsed, tables, roles)
    return replace(tables, rules=replace(rules, added=tables.rules.added))


def named_roles(folder: Path) -> dict[str, list[str]]:
    """Role (bos, eos, pad, unk, additional ...) → the texts that special_tokens_map.json or
    tokenizer_config.json gives it: `transformers` looks those up in the vocabulary. Where both
    name one it takes the first file's, unless the second lists its added tokens too."""
    roles: dict[str, list[str]] = {}
    paths = [folder / "special_tokens_map.json", folder / "tokenizer_config.json"]
    tables = [(path, _read_json(path) if path.is_file() else {}) for path in paths]
    if "added_tokens_decoder" not in tables[1][1]:
        tables.reverse()
    for path, table in tables:
        for key in _ROLES & table.keys():
            entry = table[key]
            if isinstance(entry, dict) and "content" not in entry:  # role → token, in newer files
                entry = list(entry.values())
            texts = []
            for each in entry if isinstance(entry, list) else [entry]:
                text = each.get("content") if isinstance(each, dict) else each
                if text is not None and not isinstance(text, str):
                    raise TokenizerError(f"{path}: {key} must be a text, not {text!r}")
                texts += [text] if text else []
            roles[key.removesuffix("_token")] = texts
    return roles


def write_folder(folder: Path, tables: Tables, end_of_text: str | None) -> None:
    """vocab.json, merges.txt, special_tokens.json, and tokenizer_config.json for `transformers`,
    each whole or not at all; where those cannot say all, tokenizer.json too. end_of_text: the
    special token that begins and ends a document."""
    rules = tables.rules
    added = {text: Added(id=token) for text, token in tables.special.items()} | dict(rules.added)
    by_id = sorted((token.id, text) for text, token in added.items())
    config: dict[str, Any] = {
        "add_prefix_space": SPACE in rules.steps,
        "added_tokens_decoder": {
            str(token): {"content": text, **flags(added[text])} for token, text in by_id
        },
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "GPT2Tokenizer" if rules.plain else "PreTrainedTokenizerFast",
    }
    config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), end_of_text)
    merges = "".join(f"{left} {right}\n" for left, right in tables.merges)
    _write(folder / "vocab.json", json.dumps(tables.vocab, ensure_ascii=False))
    _write(folder / "merges.txt", "#version: 0.2\n" + merges)
    _write(folder / "special_tokens.json", json.dumps(tables.special, ensure_ascii=False))
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
    if not rules.plain:
        whole = build(tables.vocab, tables.merges, added, rules)
        _write(folder / "tokenizer.json", json.dumps(whole, ensure_ascii=False))


def _tables(
    vocab: dict[str, Any],
    merges: list[tuple[str, str]],
    added: Mapping[str, Added],
    named: Collection[str] = (),
    *,
    by_looks: bool,
    nfc: bool = False,
) -> Tables:
    """Which tokens are special: those that are `added` as such, and those that no merge makes and
    that are `named` or, `by_looks`, written as special tokens are."""
    vocab = vocab | _holes(vocab, added)
    if by_looks:
        named = {*named, *filter(_MARKED.fullmatch, vocab)}
    named = set(named)
    products = named.union(added).intersection(map("".join, merges)).union(byte_symbols())
    special = {text: vocab[text] for text in filter((named - products).__contains__, vocab)}
    flagged = {}
    for text, token in in_one_pass(added, nfc).items():
        if token.special and text in products and vocab.get(text) == token.id:
            continue  # as ordinary as any
        if token == Added(id=token.id):
            special[text] = token.id
        else:
            special.pop(text, None)
            flagged[text] = token
    return Tables(vocab=vocab, merges=merges, special=special, rules=Rules(added=flagged))


def _holes(vocab: Mapping[str, Any], added: Mapping[str, Added]) -> dict[str, int]:
    """The ids below the vocabulary's highest that no file gives a token, by the name of padding;
    {} where so many are missing that it is damaged. `tokenizers` reads such files too."""
    ids = [*vocab.values(), *(token.id for token in added.values())]
    if not set(map(type, ids)) <= {int}:
        return {}  # which is refused where it is checked
    n_ids = max(vocab.values(), default=-1) + 1
    if n_ids <= len(vocab) or n_ids > 2 * len(vocab):
        return {}
    taken = set(ids)
    return {padding(i): i for i in range(n_ids) if i not in taken and padding(i) not in vocab}


def _listed(folder: Path, parsed: Parsed | None) -> dict[str, Added]:
    """The tokens that the files beside vocab.json add to it, the last file's flags counting."""
    added: dict[str, Added] = {}

    def add(path: Path, text: str, token: Added) -> None:
        known = added.get(text)
        if known is not None and known.id != token.id:
            raise TokenizerError(
                f"{path}: the added token {text!r} has the id {token.id!r}, and {known.id!r} in "
                "another file of the folder: remove the file that is not this model's"
            )
        added[text] = token

    for name in ("special_tokens.json", "added_tokens.json"):
        path = folder / name
        for text, token in (_read_json(path) if path.is_file() else {}).items():
            add(path, text, Added(id=token))
    for text, each in (parsed.added if parsed else {}).items():
        add(folder / "tokenizer.json", text, each)
    path = folder / "tokenizer_config.json"
    table = (_read_json(path) if path.is_file() else {}).get("added_tokens_decoder") or {}
    if not isinstance(table, dict):
        raise TokenizerError(f"{path}: added_tokens_decoder must be a table")
    for number, entry in table.items():
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            raise TokenizerError(f"{path}: {number[:20]!r} in added_tokens_decoder is no id")
        add(path, *added_token(path, entry, int(number)))
    return added


def _settings(
    folder: Path,
    parsed: Parsed | None,
    tables: Tables,
    roles: Mapping[str, list[str]],
) -> Rules:
    """What tokenizer.json and tokenizer_config.json say of how texts are cut and framed. Chat
    templates in these files are not looked at."""
    rules = Rules()
    if parsed is not None:
        rules = Rules(
            begin=parsed.begin,
            end=parsed.end,
            steps=parsed.steps,
            ignore_merges=parsed.ignore_merges,
            nfc=parsed.nfc,
        )
    path = folder / "tokenizer_config.json"
    config = _read_json(path) if path.is_file() else {}
    kind = config.get("tokenizer_class") or "GPT2Tokenizer"
    if parsed is None and kind not in _CLASSES:
        raise TokenizerError(f"{path}: {str(kind)[:60]!r} is not GPT-2's tokenizer. {WAY_ON}")
    for name in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if not isinstance(config.get(name), bool | None):
            raise TokenizerError(f"{path}: {name} must be true or false")
    said = config.get("add_prefix_space")
    own = kind in _GPT2  # of another class tokenizer.json decides, as for `transformers`
    if said is not None and own and rules.steps in ((GPT2,), (SPACE, GPT2)):
        rules = replace(rules, steps=(SPACE, GPT2) if said else (GPT2,))
    if parsed is None:  # else its post_processor decides, as for `transformers`
        sides = [
            (_framing(path, role, tables, roles),) if config.get(f"add_{role}_token") else ()
            for role in ("bos", "eos")
        ]
        rules = replace(rules, begin=sides[0], end=sides[1])
    return rules


def _framing(path: Path, role: str, tables: Tables, roles: Mapping[str, list[str]]) -> int:
    """The token that every text begins (bos) or ends with; `transformers` takes <|endoftext|>
    where none is named."""
    (text,) = roles.get(role) or ["<|endoftext|>"]
    ids = {**tables.vocab, **tables.special}
    if text not in ids:
        raise TokenizerError(
            f"{path}: add_{role}_token is true and the {role}_token {text!r} is not in the "
            "vocabulary: name one that is"
        )
    return ids[text]


def _check_agreement(
    folder: Path, vocab: Mapping[str, Any], merges: list[tuple[str, str]], parsed: Parsed
) -> None:
    """vocab.json and merges.txt beside a tokenizer.json: the same tokens, save added ones."""

    def refuse(what: str) -> TokenizerError:
        return TokenizerError(
            f"{folder}: vocab.json, merges.txt and tokenizer.json disagree: {what}. One is another "
            "model's: take the one away that this model was not trained with"
        )

    if parsed.vocab is not None and parsed.vocab != vocab:
        for text in (*vocab, *parsed.vocab):
            here, there = vocab.get(text), parsed.vocab.get(text)
            if here != there and not (text in parsed.added and None in (here, there)):
                raise refuse(f"token {text[:40]!r} is {here} and {there}")
    if parsed.merges is not None and parsed.merges != merges:
        pairs = zip_longest(parsed.merges, merges)
        rank = next(rank for rank, (one, other) in enumerate(pairs) if one != other)
        raise refuse(f"their merges, from number {rank} on")


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Two tokens a line, after a line with the version."""
    try:
        text = _read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} is not UTF-8 text: {error}") from error
    if text.startswith("#version"):
        text = text.partition("\n")[2]
    lines = [line for each in text.split("\n") if (line := each.strip("\r"))]
    try:
        return pairs_of(lines)
    except ValueError as error:
        line = lines[error.args[0]]
        raise TokenizerError(f"{path}: merge {error} is not two tokens: {line[:80]!r}") from error


def _read(path: Path) -> bytes:
    if not path.exists():
        raise TokenizerError(f"there is no file {path}")
    return _READER.read_bytes(path, _MOST_BYTES)


def _read_json(path: Path) -> dict[str, Any]:
    # transformers writes int(1e30), 31 digits, for a model_max_length that it does not know.
    return _READER.parse_object(_read(path), str(path), digits=31)


def _write(path: Path, text: str) -> None:
    write_file(path, text.encode(), error=None)
