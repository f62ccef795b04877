"""tokenizer.json, the format of the library `tokenizers`: read by a list of what can be computed.

Each type and flag that is listed here gives the library's ids, to which tests hold it; any other
is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TokenizerError
from .pairs import pairs_of
from .rules import DIGIT, DIGITS, GPT2, SPACE, Added, Rules
from .splits import PATTERNS, WRITTEN

__all__ = ["WAY_ON", "ForeignTokenizer", "Parsed", "added_token", "build", "flags", "parse"]

WAY_ON = (
    "Pellucid computes the byte-level BPE of GPT-2, Llama 3, Qwen2 and SmolLM2. The way on: encode "
    "with the library `tokenizers` and give the ids (in Python in place of a text, `pellucid "
    "generate --ids`), with the tokenizer's files taken out of the model's folder"
)


class ForeignTokenizer(TokenizerError):
    """A tokenizer of a kind of its own, which is not computed here: says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """vocab and merges are None where the file lacks them."""

    vocab: Mapping[str, int] | None
    merges: list[tuple[str, str]] | None
    added: Mapping[str, Added]
    steps: tuple[str, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    ignore_merges: bool
    nfc: bool


def parse(path: Path, table: Mapping[str, Any]) -> Parsed:
    """Raises TokenizerError naming what would split, spell or frame text in a way that is not
    computed here. truncation and padding are about batches, as `transformers` takes them."""
    model = table.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise TokenizerError(f"{path} is not byte-pair encoding but {str(kind)[:40]}. {WAY_ON}")
    if model.get("byte_fallback"):
        raise ForeignTokenizer(
            "its tokenizer is SentencePiece's (a tokenizer.json with byte_fallback), and Pellucid "
            "computes byte-level BPE"
        )
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise _refused(path, f"its model has {name}")
    ignore_merges = model.get("ignore_merges", False)
    if not isinstance(ignore_merges, bool | None):
        raise TokenizerError(f"{path}: ignore_merges must be true or false")
    normal = [_type(step) for step in _flat(path, table.get("normalizer"), "normalizers")]
    if others := [kind for kind in normal if kind != "NFC"]:
        raise _refused(path, f"its normalizer {others[0]} changes texts")
    decoders = [_type(step) for step in _flat(path, table.get("decoder"), "decoders")]
    if decoders not in ([], ["ByteLevel"]):
        raise _refused(path, f"its decoder is {' + '.join(decoders)}, not ByteLevel")
    begin, end = _frame(path, table.get("post_processor"))
    vocab, merges = model.get("vocab"), model.get("merges")
    listed = table.get("added_tokens") or []
    if not isinstance(listed, list):
        raise TokenizerError(f"{path}: added_tokens must be a list")
    added = {}
    for entry in listed:
        text, token = added_token(path, entry, entry.get("id") if isinstance(entry, dict) else None)
        added[text] = token
    return Parsed(
        vocab=vocab if isinstance(vocab, dict) else None,
        merges=_pairs(path, merges) if isinstance(merges, list) else None,
        added=added,
        steps=_steps(path, table.get("pre_tokenizer")),
        begin=begin,
        end=end,
        ignore_merges=bool(ignore_merges),
        nfc=bool(normal),
    )


def _refused(path: Path, what: str) -> TokenizerError:
    return TokenizerError(f"{path}: {what}, which is not computed here. {WAY_ON}")


def _type(step: Any) -> str:
    return str(step.get("type"))[:40] if isinstance(step, dict) else str(step)[:40]


def _flat(path: Path, step: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a Sequence, and of those within it; nothing where there is none."""
    if step is None:
        return
    if not isinstance(step, dict):
        raise TokenizerError(f"{path}: malformed {inner}")
    if step.get("type") != "Sequence":
        yield step
        return
    steps = step.get(inner)
    if not isinstance(steps, list):
        raise TokenizerError(f"{path}: a Sequence without {inner}")
    for each in steps:
        yield from _flat(path, each, inner)


def _steps(path: Path, before: Any) -> tuple[str, ...]:
    """How text becomes words. ByteLevel comes last and once: it spells bytes as characters."""
    steps = list(_flat(path, before, "pretokenizers"))
    kinds = [_type(step) for step in steps]
    if kinds.count("ByteLevel") != 1 or kinds[-1] != "ByteLevel":
        shown = " + ".join(kinds) or "none"
        raise _refused(path, f"its pre_tokenizer is {shown} and does not end in one ByteLevel")
    rules: list[str] = []
    for step, kind in zip(steps, kinds, strict=True):
        if kind == "Digits" and isinstance(step.get("individual_digits"), bool):
            rules.append(DIGIT if step["individual_digits"] else DIGITS)
        elif kind == "Split" and (known := _known(step)) is not None:
            rules.append(known)
        elif kind == "ByteLevel" and isinstance(step.get("add_prefix_space"), bool):
            if step["add_prefix_space"]:
                rules.append(SPACE)
            if step.get("use_regex", True):
                rules.append(GPT2)
        else:
            what = f"{kind} ({_short(step.get('pattern'))})" if kind == "Split" else kind
            raise _refused(path, f"its pre_tokenizer {what} splits text in another way")
    return tuple(rules)


def _known(step: Mapping[str, Any]) -> str | None:
    """A split by a known pattern, which leaves nothing of a text between its matches."""
    pattern = step.get("pattern")
    written = pattern.get("Regex") if isinstance(pattern, dict) else None
    kept = ("Isolated", False), ("Isolated", True), ("Removed", True)
    if (step.get("behavior"), step.get("invert", False)) not in kept:
        return None
    return WRITTEN.get(written) if isinstance(written, str) else None


def _frame(path: Path, after: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a text begins and ends with."""
    frames = []
    for step in _flat(path, after, "processors"):
        kind = _type(step)
        if kind == "TemplateProcessing":
            frames.append(_template(path, step))
        elif kind in ("BertProcessing", "RobertaProcessing"):
            frames.append(tuple((_id(path, step.get(side)),) for side in ("cls", "sep")))
        elif kind != "ByteLevel":
            raise _refused(path, f"its post_processor {kind} changes ids")
    if len(frames) > 1:
        raise _refused(path, "its post_processor frames a text more than once")
    begin, end = frames[0] if frames else ((), ())
    return begin, end


def _template(path: Path, step: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    single, special = step.get("single"), step.get("special_tokens") or {}
    if not isinstance(single, list) or not isinstance(special, dict):
        raise TokenizerError(f"{path}: malformed TemplateProcessing")
    sides: list[list[int]] = [[]]
    for part in single:
        if isinstance(part, dict) and isinstance(part.get("Sequence"), dict):
            sides.append([])
            continue
        token = part.get("SpecialToken") if isinstance(part, dict) else None
        name = token.get("id") if isinstance(token, dict) else None
        ids = special.get(name, {}).get("ids") if isinstance(name, str) else None
        if not isinstance(ids, list) or not all(type(each) is int for each in ids):
            raise TokenizerError(f"{path}: TemplateProcessing names {_short(part)}, unknown to it")
        sides[-1] += ids
    if len(sides) != 2:
        raise _refused(path, "its TemplateProcessing has the text not exactly once")
    return tuple(sides[0]), tuple(sides[1])


def _id(path: Path, pair: Any) -> int:
    if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) is not int:
        raise TokenizerError(f"{path}: malformed post_processor")
    return pair[1]


def _pairs(path: Path, merges: list[Any]) -> list[tuple[str, str]]:
    try:
        return pairs_of(merges)
    except ValueError as error:
        raise TokenizerError(f"{path}: merge {error} is not two tokens") from error


def added_token(path: Path, entry: Any, token: Any) -> tuple[str, Added]:
    """An entry of added_tokens, or of added_tokens_decoder. -> its text, and the token"""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise TokenizerError(f"{path}: malformed entry among the added tokens")
    special = entry.get("special", True)
    values = {name: entry.get(name, False) for name in ("lstrip", "rstrip", "single_word")}
    values |= {"special": special, "normalized": entry.get("normalized", not special)}
    for name, flag in values.items():
        if not isinstance(flag, bool):
            raise TokenizerError(f"{path}: {name} of an added token must be true or false")
    return entry["content"], Added(id=token, **values)


def flags(token: Added) -> dict[str, bool]:
    """An added token's flags, as the files name them."""
    return {
        "single_word": token.single_word,
        "lstrip": token.lstrip,
        "rstrip": token.rstrip,
        "normalized": token.normalized,
        "special": token.special,
    }


def build(
    vocab: Mapping[str, int],
    merges: list[tuple[str, str]],
    added: Mapping[str, Added],
    rules: Rules,
) -> dict[str, Any]:
    """The table of a tokenizer.json that `parse` reads back as it is. added: every added token."""
    steps = list(_written(rules.steps))
    names = {token: text for text, token in vocab.items()}
    frame = [{"SpecialToken": {"id": names[i], "type_id": 0}} for i in rules.begin]
    frame.append({"Sequence": {"id": "A", "type_id": 0}})
    frame += [{"SpecialToken": {"id": names[i], "type_id": 0}} for i in rules.end]
    pair = [*frame, {"Sequence": {"id": "B", "type_id": 1}}]
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    special = {
        names[i]: {"id": names[i], "ids": [i], "tokens": [names[i]]}
        for i in (*rules.begin, *rules.end)
    }
    template = {"type": "TemplateProcessing", "single": frame, "pair": pair,
                "special_tokens": special}  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token.id, "content": text, **flags(token)}
            for text, token in sorted(added.items(), key=lambda item: item[1].id)
        ],
        "normalizer": {"type": "NFC"} if rules.nfc else None,
        "pre_tokenizer": steps[0] if len(steps) == 1 else {"type": "Sequence",
                                                           "pretokenizers": steps},
        "post_processor": template if special else level,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rules.ignore_merges,
            "vocab": dict(vocab),
            "merges": [list(pair) for pair in merges],
        },
    }  # fmt: skip


def _written(steps: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    last = {"type": "ByteLevel", "trim_offsets": True, "use_regex": steps[-1:] == (GPT2,)}
    steps = steps[:-1] if last["use_regex"] else steps
    last["add_prefix_space"] = steps[-1:] == (SPACE,)
    for step in steps[:-1] if last["add_prefix_space"] else steps:
        if step in (DIGIT, DIGITS):
            yield {"type": "Digits", "individual_digits": step == DIGIT}
        else:
            pattern = {"Regex": PATTERNS[step]}
            yield {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    yield last


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
