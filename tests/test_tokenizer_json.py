"""tokenizer.json held against the library `tokenizers`: whatever it can build gives the same ids
here or is refused by name (trial rows W1, W2, P13, P14)."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pellucid.errors import TokenizerError
from pellucid.tokenizer import SPLIT, Tokenizer
from pellucid.tokenizer.splits import LLAMA3, PATTERNS, QWEN2
from support.skips import needs
from support.vocabulary import byte_spelling

needs("tokenizers")
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors  # noqa: E402
from tokenizers import Tokenizer as Theirs  # noqa: E402
from tokenizers.models import BPE  # noqa: E402

MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("1", "2"), ("Ġ", "1"), ("Ġ", "Ġ"), ("a", "b")]
VOCAB = {
    token: i
    for i, token in enumerate(
        [*byte_spelling(), *(left + right for left, right in MERGES), "<s>", "</s>"]
    )
}
KNOWN = [Regex(PATTERNS[name]) for name in (LLAMA3, QWEN2)]
BOS, EOS = VOCAB["<s>"], VOCAB["</s>"]

PRE = {
    "ByteLevel": lambda r: pre_tokenizers.ByteLevel(
        add_prefix_space=r.random() < 0.5, use_regex=r.random() < 0.6, trim_offsets=r.random() < 0.5
    ),
    "Digits": lambda r: pre_tokenizers.Digits(individual_digits=r.random() < 0.5),
    "Split": lambda r: pre_tokenizers.Split(
        r.choice([Regex(SPLIT), Regex(SPLIT), *KNOWN, Regex(r"\s+"), " "]),
        r.choice(["isolated", "removed", "merged_with_next", "contiguous"]),
        invert=r.random() < 0.5,
    ),
    "WhitespaceSplit": lambda r: pre_tokenizers.WhitespaceSplit(),
    "Whitespace": lambda r: pre_tokenizers.Whitespace(),
    "Metaspace": lambda r: pre_tokenizers.Metaspace(),
    "Punctuation": lambda r: pre_tokenizers.Punctuation(),
    "BertPreTokenizer": lambda r: pre_tokenizers.BertPreTokenizer(),
    "CharDelimiterSplit": lambda r: pre_tokenizers.CharDelimiterSplit("t"),
    "UnicodeScripts": lambda r: pre_tokenizers.UnicodeScripts(),
    "FixedLength": lambda r: pre_tokenizers.FixedLength(3),
}
NORMAL = {
    "NFC": normalizers.NFC, "NFD": normalizers.NFD, "NFKC": normalizers.NFKC,
    "NFKD": normalizers.NFKD, "Lowercase": normalizers.Lowercase, "Nmt": normalizers.Nmt,
    "StripAccents": normalizers.StripAccents, "BertNormalizer": normalizers.BertNormalizer,
    "ByteLevel": normalizers.ByteLevel,
    "Prepend": lambda: normalizers.Prepend(" "), "Strip": lambda: normalizers.Strip(),
    "Replace": lambda: normalizers.Replace("a", "b"),
}  # fmt: skip
AFTER = {
    "ByteLevel": lambda: processors.ByteLevel(trim_offsets=True),
    "TemplateProcessing": lambda: processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    ),
    "begin": lambda: processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS)]
    ),
    "twice": lambda: processors.TemplateProcessing(
        single="$A <s> $A", special_tokens=[("<s>", BOS)]
    ),
    "RobertaProcessing": lambda: processors.RobertaProcessing(("</s>", EOS), ("<s>", BOS)),
    "BertProcessing": lambda: processors.BertProcessing(("</s>", EOS), ("<s>", BOS)),
}  # fmt: skip
DECODE = {
    "ByteLevel": decoders.ByteLevel, "WordPiece": decoders.WordPiece,
    "Metaspace": decoders.Metaspace, "BPEDecoder": decoders.BPEDecoder,
    "Fuse": decoders.Fuse, "ByteFallback": decoders.ByteFallback, "CTC": decoders.CTC,
    "Strip": lambda: decoders.Strip("a", 1, 0), "Replace": lambda: decoders.Replace("a", "b"),
}  # fmt: skip
REGULAR = {"Sequence", "PreTokenizer", "Normalizer", "PostProcessor", "Decoder", "DecodeStream",
           "NORMALIZERS", "Precompiled", "NFC"}  # fmt: skip


def test_every_type_of_the_library_is_tried() -> None:
    for module, table in (
        (pre_tokenizers, PRE), (normalizers, NORMAL), (processors, AFTER), (decoders, DECODE),
    ):  # fmt: skip
        types = {name for name in dir(module) if name[0].isupper()} - REGULAR
        assert types <= set(table), types - set(table)


def sequence(r: random.Random, kinds: dict[str, Any], wrap: Any, most: int) -> Any:
    steps = [kinds[name]() for name in r.choices(list(kinds), k=r.randint(0, most))]
    return None if not steps else steps[0] if len(steps) == 1 else wrap(steps)


def pre_tokenizer(r: random.Random) -> Any:
    """Mostly what may be computed, so that much of it is."""
    names = r.choices(["Digits", "Split", *PRE], k=r.randint(0, 2))
    steps = [PRE[name](r) for name in names] + [PRE["ByteLevel"](r)] * (r.random() < 0.9)
    if not steps:
        return None
    if len(steps) > 2 and r.random() < 0.3:
        return pre_tokenizers.Sequence([pre_tokenizers.Sequence(steps[:2]), *steps[2:]])
    return steps[0] if len(steps) == 1 and r.random() < 0.5 else pre_tokenizers.Sequence(steps)


def random_tokenizer(r: random.Random) -> Theirs:
    theirs = Theirs(BPE(vocab=VOCAB, merges=MERGES, ignore_merges=r.random() < 0.2))
    if (before := pre_tokenizer(r)) is not None:
        theirs.pre_tokenizer = before
    if r.random() < 0.15:
        normal = sequence(r, NORMAL, normalizers.Sequence, 2)
        theirs.normalizer = normal or normalizers.Sequence([])
    elif r.random() < 0.2:
        theirs.normalizer = normalizers.NFC()
    if r.random() < 0.5:
        after = sequence(r, AFTER, processors.Sequence, 2)
        theirs.post_processor = after or processors.Sequence([])
    theirs.decoder = DECODE[r.choice(["ByteLevel"] * 12 + list(DECODE))]()
    for content in r.sample(["<mask>", "xyz", "[P]", "  ", "ab", "<mask>x"], k=r.randint(0, 3)):
        theirs.add_tokens([random_added(r, content)])
    return theirs


def random_added(r: random.Random, content: str) -> AddedToken:
    flags = {name: r.random() < 0.3 for name in ("lstrip", "rstrip", "single_word", "normalized")}
    special = r.random() < 0.5 and content not in VOCAB  # an ordinary word is never special here
    return AddedToken(content, special=special, **flags)


PIECES = [
    " ", "  ", "\n", "\t", "\u00a0", "\u2003", "the", "th", "ab", "12", "1", "²", "٣",
    "Ⅻ", "½", "'s", "don't", ",", ".", "é", "ü", "日本", "👍", "e\u0301", "\u0338", "\r\n",
    "'S", "1234", "<s>", "</s>", "<mask>", "<mask>x",
    "xyz", "[P]", "_", "a", "x", "\u0301", "\x1c", "\x85", "\u200d", "",
]  # fmt: skip


def random_text(r: random.Random) -> str:
    return "".join(r.choices(PIECES, k=r.randint(0, 9)))


def read(theirs: Theirs, folder: Path) -> Tokenizer | str:
    """Our reading of it, or the refusal."""
    folder.mkdir(exist_ok=True)
    theirs.save(str(folder / "tokenizer.json"))
    try:
        return Tokenizer.from_folder(folder)
    except TokenizerError as error:
        return str(error)


def hold(ours: Tokenizer, theirs: Theirs, text: str) -> None:
    special = set(ours.special_tokens)
    begin, end = ours.rules.begin, ours.rules.end
    ids = ours.encode(text, special)
    assert ids == theirs.encode(text, add_special_tokens=False).ids
    assert [*begin, *ids, *end] == theirs.encode(text).ids
    theirs.encode_special_tokens = True  # special tokens in a text are text
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    theirs.encode_special_tokens = False
    assert ours.encode_many([text]) == [ours.encode(text)]


@pytest.mark.parametrize("seed", range(8))
def test_the_same_ids_or_refused_by_name(seed: int, tmp_path: Path) -> None:
    r = random.Random(seed)
    n_read = n_refused = 0
    for number in range(60):
        theirs = random_tokenizer(r)
        ours = read(theirs, tmp_path / "one")
        if isinstance(ours, str):
            n_refused += 1
            state = json.loads(theirs.to_str())
            kinds = set(re.findall(r'"type": ?"(\w+)"', json.dumps(state)))
            assert "tokenizer.json: its " in ours
            assert any(kind in ours for kind in kinds) or "frames" in ours or "is none" in ours
            assert "The way on: encode with the library" in ours
            continue
        n_read += 1
        (tmp_path / f"{number}").mkdir()
        ours.save(tmp_path / f"{number}")
        again = Tokenizer.from_folder(tmp_path / f"{number}")
        assert again.rules == ours.rules
        for text in (random_text(r) for _ in range(25)):
            hold(ours, theirs, text)
            hold(again, theirs, text)
            ids = theirs.encode(text).ids
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)
    assert min(n_read, n_refused) > 5


def base(**parts: Any) -> Theirs:
    theirs = Theirs(BPE(vocab=VOCAB, merges=MERGES))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    for name, part in parts.items():
        setattr(theirs, name, part)
    return theirs


@pytest.mark.parametrize("kind", sorted({*NORMAL} - {"NFC"}))
def test_every_normalizer_is_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    assert f"its normalizer {kind} changes texts" in read(base(normalizer=NORMAL[kind]()), tmp_path)


@pytest.mark.parametrize("individual", [True, False])
def test_every_numeral_is_one_to_both(individual: bool, tmp_path: Path) -> None:
    """Code points that this Python's Unicode knows; those that came later differ by library."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    before = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual), level])
    theirs = base(pre_tokenizer=before)
    ours = read(theirs, tmp_path)
    assert isinstance(ours, Tokenizer)
    known = [chr(i) for i in range(0x30000) if unicodedata.category(chr(i)) not in ("Cn", "Cs")]
    for start in range(0, len(known), 4000):
        text = "".join(f"1{character}2a" for character in known[start : start + 4000])
        assert ours.encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ([pre_tokenizers.WhitespaceSplit()], "WhitespaceSplit"),
        ([pre_tokenizers.Split(Regex(r"\s+"), "isolated")], r"Split \({'Regex': '\\\\s\+'}\)"),
        ([pre_tokenizers.Split(Regex(SPLIT), "removed")], "Split"),
    ],
)
def test_the_trial_s_pre_tokenizers(before: list[Any], name: str, tmp_path: Path) -> None:
    """W1: "a b" was 97 32 98 here, and 97 98 in `tokenizers`."""
    steps = [*before, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    refusal = read(base(pre_tokenizer=pre_tokenizers.Sequence(steps)), tmp_path)
    assert isinstance(refusal, str)
    assert re.search(f"its pre_tokenizer {name}", refusal)


def test_mask_with_lstrip(tmp_path: Path) -> None:
    """P14: RoBERTa's <mask> takes the space before it along."""
    theirs = base()
    theirs.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    ours = read(theirs, tmp_path)
    assert isinstance(ours, Tokenizer)
    assert ours.encode("ab  <mask> ab", {"<mask>"}) == [VOCAB["ab"], 265, VOCAB["Ġ"], VOCAB["ab"]]
    assert ours.decode(ours.encode("ab <mask>")) == "ab <mask>"  # not allowed: text


def write_both(folder: Path, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    base().save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    (folder / "merges.txt").write_text("\n".join(map(" ".join, merges)), "utf-8")


def test_two_files_that_disagree(tmp_path: Path) -> None:
    """P13: one of them was taken, silently."""
    write_both(tmp_path, VOCAB, MERGES)
    assert Tokenizer.from_folder(tmp_path).encode("the") == base().encode("the").ids
    swapped = VOCAB | {"th": VOCAB["the"], "the": VOCAB["th"]}
    for vocab, merges, message in (
        (swapped, MERGES, "token 'th' is 257 and 256"),
        ({t: i for t, i in VOCAB.items() if t != "</s>"}, MERGES, "token '</s>' is None and 264"),
        (VOCAB, [MERGES[0], MERGES[3], *MERGES[1:3], *MERGES[4:]], "merges, from number 1 on"),
        (VOCAB, MERGES[:-1], "merges, from number 6 on"),
    ):
        write_both(tmp_path, vocab, merges)
        with pytest.raises(TokenizerError, match=f"tokenizer.json disagree: .*{message}"):
            Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("side", [["add_bos_token"], ["add_bos_token", "add_eos_token"], []])
@pytest.mark.parametrize("file", ["vocab.json", "tokenizer.json"])
def test_texts_begin_and_end_as_transformers_makes_them(
    side: list[str], file: str, tmp_path: Path
) -> None:
    """W2: `add_bos_token` in tokenizer_config.json was passed over."""
    transformers = needs("transformers")
    if file == "vocab.json":
        write_both(tmp_path, VOCAB, MERGES)
        (tmp_path / "tokenizer.json").unlink()
    else:
        base(post_processor=AFTER["TemplateProcessing"]()).save(str(tmp_path / file))
    for prefix in (False, True):
        config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>",
                  "unk_token": None, "add_prefix_space": prefix, "add_bos_token": False,
                  **dict.fromkeys(side, True)}  # fmt: skip
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        ours = Tokenizer.from_folder(tmp_path)
        for text in ("ab", "the ab 12", " the", ""):
            assert ours.framed(ours.encode(text)) == theirs(text)["input_ids"]
        (tmp_path / f"saved{prefix}").mkdir()
        ours.save(tmp_path / f"saved{prefix}")
        for again in (
            Tokenizer.from_folder(tmp_path / f"saved{prefix}").framed(ours.encode("the ab")),
            transformers.AutoTokenizer.from_pretrained(tmp_path / f"saved{prefix}")("the ab")[
                "input_ids"
            ],
        ):
            assert again == theirs("the ab")["input_ids"]


@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize("level", [True, False])
def test_a_space_before_a_text_is_as_the_library_has_it(
    level: bool, said: bool | None, tmp_path: Path
) -> None:
    """A null beside tokenizer.json, or a class that does not look at add_prefix_space, took the
    space away."""
    transformers = needs("transformers")
    theirs = base(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=level))
    theirs.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": said}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the ab", " the", "12", ""):
        ids = Tokenizer.from_folder(tmp_path).encode(text)
        assert ids == theirs.encode(text).ids == loaded(text)["input_ids"]
    config["tokenizer_class"] = "GPT2Tokenizer"  # which takes the configuration's word
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ids = Tokenizer.from_folder(tmp_path).encode("the")
    if said is None:  # transformers cannot load it
        assert ids == theirs.encode("the").ids
    else:
        assert ids == transformers.AutoTokenizer.from_pretrained(tmp_path)("the")["input_ids"]


@pytest.mark.parametrize("listed", [True, False])
def test_the_file_whose_role_counts(listed: bool, tmp_path: Path) -> None:
    """special_tokens_map.json and tokenizer_config.json name another bos."""
    transformers = needs("transformers")
    write_both(tmp_path, VOCAB, MERGES)
    (tmp_path / "tokenizer.json").unlink()
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "unk_token": None,
              "eos_token": "</s>", "add_bos_token": True}  # fmt: skip
    if listed:
        plain = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
        config["added_tokens_decoder"] = {
            str(VOCAB[t]): {"content": t, "special": True, **plain} for t in ("<s>", "</s>")
        }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": "</s>"}))
    ours = Tokenizer.from_folder(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.framed(ours.encode("the ab")) == theirs("the ab")["input_ids"]
    assert ours.rules.begin == (BOS if listed else EOS,)


def test_tokens_without_a_merge_only_decode(tmp_path: Path) -> None:
    vocab = VOCAB | {"Ġfoo": 265, "naïve!": 266, "not spelled": 267}
    theirs = base(model=BPE(vocab=vocab, merges=MERGES))
    ours = read(theirs, tmp_path)
    assert isinstance(ours, Tokenizer)
    for text in (" foo", "naïve!", "not spelled"):
        assert ours.encode(text) == theirs.encode(text).ids
    for ids in ([265], [267], [0, 265, 267]):
        assert ours.decode(ids) == theirs.decode(ids)
    (tmp_path / "saved").mkdir()
    ours.save(tmp_path / "saved")
    saved = Tokenizer.from_folder(tmp_path / "saved")
    assert [saved.bytes_of(i) for i in range(268)] == [ours.bytes_of(i) for i in range(268)]


def test_a_number_that_transformers_writes(tmp_path: Path) -> None:
    write_both(tmp_path, VOCAB, MERGES)
    config = json.dumps({"model_max_length": int(1e30), "tokenizer_class": "GPT2Tokenizer"})
    (tmp_path / "tokenizer_config.json").write_text(config)
    assert Tokenizer.from_folder(tmp_path).encode("ab") == [VOCAB["ab"]]
