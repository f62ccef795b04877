"""The tokenizer beside tiktoken and Hugging Face's tokenizers (RELIABILITY rows A7, C1–C6)."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pellucid.errors import InputError, TokenizerError
from pellucid.tokenizer import END_OF_TEXT, SPLIT, Tokenizer, byte_symbols, split


@pytest.fixture(scope="module")
def references(gpt2_files):
    """text -> ids, by tiktoken and by tokenizers, each built from OpenAI's files alone."""
    import tiktoken
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tokenizers import ByteLevelBPETokenizer

    encoder, merges = map(str, gpt2_files)
    ranks = data_gym_to_mergeable_bpe_ranks(merges, encoder)
    pattern = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
    first = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    second = ByteLevelBPETokenizer.from_file(encoder, merges)
    return first.encode_ordinary, lambda text: second.encode(text).ids


def check(tokenizer: Tokenizer, references, text: str) -> None:
    """Both of our paths, both references, and back again."""
    own = [
        tokenizer._ids[part]
        for word in split(text)
        for part in tokenizer._parts(word.encode(), None)
    ]
    bulk = tokenizer._bulk.encode_ordinary(text)
    assert own == bulk == tokenizer.encode(text)
    for reference in references:
        assert own == reference(text), repr(text[:200])
    assert tokenizer.decode(own) == text


def test_golden_ids(gpt2_tokenizer) -> None:
    encode = gpt2_tokenizer.encode
    assert encode("hello world") == [31373, 995]
    assert encode("0" * 17) == [8269, 10535, 830]
    assert encode(END_OF_TEXT) == [27, 91, 437, 1659, 5239, 91, 29]
    assert encode(END_OF_TEXT, {END_OF_TEXT}) == [50256]
    assert encode("") == []


def test_every_word_of_the_vocabulary(gpt2_tokenizer, references) -> None:
    words = [gpt2_tokenizer.decode([token]) for token in range(50256)]
    check(gpt2_tokenizer, references, "\n".join(words))
    check(gpt2_tokenizer, references, " ".join(words[::-1]))


def test_every_code_point(gpt2_tokenizer, references) -> None:
    points = [chr(i) for i in range(0x30000) if not 0xD800 <= i < 0xE000]
    for low in range(0, len(points), 8192):
        check(gpt2_tokenizer, references, "".join(points[low : low + 8192]))
        check(gpt2_tokenizer, references, " ".join(points[low : low + 2048]))


EDGES = [
    "",
    " ",
    "  ",
    "\n\n\n",
    "\t \r\n  x",
    "\ufeffBOM",
    "¼ ½ ²",
    "non\u00a0breaking\u00a0\u00a0space",
    "para\u2029graph\u2028line",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "I'm you're he'll they've I'd it's 'S 'T 'LL",
    "'''s''' ''ll 're",
    "Ⅷ ٣ 三 ௧",
    "e\u0301 \u0301\u0301",
    "\x00\x01\x7f\x80",
    "<|endoftext|><|user|>",
    "Ġ Ċ Ā ġ",
    "\U0001f9d1\u200d\U0001f680",
    "日本語のテキスト",
    "नमस्ते",
]


@pytest.mark.parametrize("text", EDGES)
def test_edges(gpt2_tokenizer, references, text: str) -> None:
    for variant in (text, f" {text}", f"{text} ", f"a{text}b", text * 3):
        check(gpt2_tokenizer, references, variant)


def test_ascii_beside_spaces_and_apostrophes(gpt2_tokenizer, references) -> None:
    for symbol in map(chr, range(128)):
        for text in (f" {symbol}", f"{symbol} ", f"  {symbol}  ", f"a'{symbol}", f"'{symbol}s"):
            check(gpt2_tokenizer, references, text)


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_any_text(gpt2_tokenizer, references, text: str) -> None:
    check(gpt2_tokenizer, references, text)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(st.text(max_size=400))
def test_any_text_at_length(gpt2_tokenizer, references, text: str) -> None:
    check(gpt2_tokenizer, references, text)


def test_random_unicode_and_random_vocabulary(gpt2_tokenizer, references) -> None:
    rng = random.Random(0)
    for _ in range(200):
        points = (chr(rng.choice([rng.randrange(0x250), rng.randrange(0xD800)])) for _ in range(80))
        check(gpt2_tokenizer, references, "".join(points))
        ids = [rng.randrange(50256) for _ in range(60)]
        text = gpt2_tokenizer.decode_bytes(ids).decode("utf-8", "ignore")
        check(gpt2_tokenizer, references, text)


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
def test_bytes_survive(gpt2_tokenizer, value: bytes) -> None:
    ids = [gpt2_tokenizer._ids[bytes([byte])] for byte in value]
    assert gpt2_tokenizer.decode_bytes(ids) == value
    text = value.decode("utf-8", "replace")
    assert gpt2_tokenizer.decode(gpt2_tokenizer.encode(text)) == text


def test_every_single_token_and_its_piece(gpt2_tokenizer) -> None:
    for token in range(50257):
        piece = gpt2_tokenizer.piece(token)
        assert gpt2_tokenizer.decode_bytes([token]) == piece.bytes
        assert piece.text is None or piece.text.encode() == piece.bytes
    assert gpt2_tokenizer.pieces("👍")[0].shown.startswith("⟨F0 9F")


def test_surrogates(gpt2_tokenizer) -> None:
    encode = gpt2_tokenizer.encode
    assert encode("\ud83d\udc4d") == encode("👍")
    assert encode("a\ud83d") == encode("a\ufffd")
    assert encode("\udc4d\ud83d") == encode("\ufffd\ufffd")


@given(st.text(max_size=20), st.text(max_size=20))
def test_specials_in_a_text_stay_text(gpt2_tokenizer, before: str, after: str) -> None:
    text = before + END_OF_TEXT + after
    assert 50256 not in gpt2_tokenizer.encode(text)
    with pytest.raises(TokenizerError, match="special token"):
        gpt2_tokenizer.encode(text, on_special="raise")
    ids = gpt2_tokenizer.encode(text, {END_OF_TEXT})
    parts = (before, after)
    if END_OF_TEXT not in before + after:
        assert ids == [
            *gpt2_tokenizer.encode(parts[0]), 50256, *gpt2_tokenizer.encode(parts[1])
        ]  # fmt: skip


def test_an_unknown_special_is_refused(gpt2_tokenizer) -> None:
    with pytest.raises(TokenizerError, match="no such special"):
        gpt2_tokenizer.encode("x", {"<|nobody|>"})


@pytest.mark.parametrize("unit", ["^", "0", "a", "'s", " ", "\n"])
def test_repetition_costs_what_its_length_costs(gpt2_tokenizer, references, unit: str) -> None:
    gpt2_tokenizer.encode("x" * 5000)  # tiktoken has started
    start = time.perf_counter()
    ids = gpt2_tokenizer.encode(unit * 10_000)
    assert time.perf_counter() - start < 1
    assert ids == references[0](unit * 10_000)


def test_a_million_letters(gpt2_tokenizer) -> None:
    gpt2_tokenizer.encode("x" * 5000)
    start = time.perf_counter()
    n = len(gpt2_tokenizer.encode("x" * 500_000))
    half = time.perf_counter() - start
    start = time.perf_counter()
    assert len(gpt2_tokenizer.encode("x" * 1_000_000)) == 2 * n
    whole = time.perf_counter() - start
    assert whole < 2
    assert whole < 4 * half + 0.2  # not quadratic; wide, because machines are shared


@settings(max_examples=300)
@given(st.lists(st.integers(0, 50256), max_size=40))
def test_streaming_equals_decoding(gpt2_tokenizer, ids: list[int]) -> None:
    stream = gpt2_tokenizer.stream()
    deltas = [stream.push(token) for token in ids]
    held = stream.flush()
    assert "".join(deltas) + held == gpt2_tokenizer.decode(ids)
    assert len(held) <= 1


@pytest.mark.parametrize("text", EDGES)
def test_streaming_whole_characters(gpt2_tokenizer, text: str) -> None:
    stream = gpt2_tokenizer.stream()
    deltas = [stream.push(token) for token in gpt2_tokenizer.encode(text)]
    assert "".join(deltas) == text
    assert all("\ufffd" not in delta for delta in deltas)
    assert stream.flush() == ""


def test_merges_show_the_work(gpt2_tokenizer) -> None:
    words = gpt2_tokenizer.merges("The power clapper")
    assert [word.text for word in words] == ["The", " power", " clapper"]
    for word in words:
        parts = list(word.start)
        for merge in word.merges:
            left, right = merge.pair
            at = next(i for i in range(len(parts)) if parts[i : i + 2] == [left, right])
            parts[at : at + 2] = [left + right]
            while list(merge.parts) != parts:  # the same pair further on is a merge of its own
                raise AssertionError((merge, parts))
        ids = [gpt2_tokenizer._ids[part] for part in parts]
        assert ids == gpt2_tokenizer.encode(word.text)


# Vocabularies that cannot be trusted (A7)

BYTES = {symbol: i for i, symbol in enumerate(byte_symbols())}


@pytest.mark.parametrize(
    ("vocab", "merges", "special", "message"),
    [
        ({**BYTES, "ab": 257}, [("a", "b")], {}, "ids must be 0"),
        ({**BYTES, "ab": 5}, [("a", "b")], {}, "ids must be 0"),
        ({**BYTES, "ab": -1}, [("a", "b")], {}, "ids must be 0"),
        ({**BYTES, "ab": "256"}, [("a", "b")], {}, "no number"),
        ({**BYTES, "ab": True}, [("a", "b")], {}, "no number"),
        (BYTES, [("a", "b")], {}, "is no token"),
        ({**BYTES, "ab": 256}, [], {}, "made by no merge"),
        ({**BYTES, "ab": 256}, [("a", "b"), ("a", "b")], {}, "occurs twice"),
        ({**BYTES, "ab": 256}, [("ab", "")], {}, "is no token"),
        ({**BYTES, "a b": 256}, [], {}, "not spelled"),
        ({k: i for i, k in enumerate(list(BYTES)[1:])}, [], {}, "not every text"),
        (BYTES, [], {"": 256}, "is empty"),
        ({**BYTES, "<|x|>": 256}, [], {"<|x|>": 3}, "two ids"),
    ],
)
def test_malformed_vocabularies(vocab, merges, special, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        Tokenizer(vocab, merges, special)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}},
        {"model": {"type": "WordPiece", "vocab": {}}},
        {"model": {"type": "BPE", "vocab": [], "merges": []}},
        {"model": {"type": "BPE", "vocab": {}, "merges": [["a"]]}},
        {"added_tokens": [{"content": 3}]},
    ],
)
def test_foreign_tokenizer_json(tmp_path, change) -> None:
    table = {
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "model": {"type": "BPE", "vocab": {**BYTES, "ab": 256}, "merges": ["a b"]},
        "added_tokens": [{"content": END_OF_TEXT, "id": 257}],
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(table))
    good = Tokenizer.from_folder(tmp_path)
    assert good.encode("ab") == [256]
    assert good.end_of_text == 257
    path.write_text(json.dumps(table | change))
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b"{", b'{"a":1,"a":2}', b"[" * 100_000])
def test_broken_files(tmp_path, content: bytes) -> None:
    (tmp_path / "vocab.json").write_bytes(content)
    (tmp_path / "merges.txt").write_bytes(b"a b\n")
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)


def test_no_tokenizer(tmp_path) -> None:
    with pytest.raises(TokenizerError, match="holds no tokenizer"):
        Tokenizer.from_folder(tmp_path)


# Training and files

TEXTS = ["the cat sat on the mat, the cat ate 12 fish"] * 3 + ["naïve café 👍"] * 2


def test_training_is_repeatable_and_saves(tmp_path) -> None:
    first = Tokenizer.train(TEXTS, 300, special=(END_OF_TEXT, "<|user|>"))
    second = Tokenizer.train(TEXTS, 300, special=(END_OF_TEXT, "<|user|>"))
    assert first.n_vocab <= 300
    assert first.end_of_text == first.n_vocab - 2
    first.save(tmp_path)
    loaded = Tokenizer.from_folder(tmp_path)
    for text in (*TEXTS, "unseen ☃ words " * 400):
        assert first.encode(text) == second.encode(text) == loaded.encode(text)
        assert loaded.decode(loaded.encode(text)) == text
    assert loaded.special_tokens == first.special_tokens
    assert len(first.encode(TEXTS[0])) < len(TEXTS[0]) / 2


def test_transformers_reads_what_we_save(tmp_path) -> None:
    from transformers import GPT2Tokenizer

    ours = Tokenizer.train(TEXTS, 300)
    ours.save(tmp_path)
    theirs = GPT2Tokenizer.from_pretrained(str(tmp_path))
    for text in (*TEXTS, " spaces  and 'll", "日本"):
        assert theirs.encode(text) == ours.encode(text)


def test_training_needs_room() -> None:
    with pytest.raises(InputError, match="n_vocab must be at least 257"):
        Tokenizer.train(TEXTS, 256)


@given(st.text(max_size=100))
def test_own_merges_equal_tiktoken_on_a_trained_vocabulary(text: str) -> None:
    import tiktoken

    ours = _trained()
    ranks = dict(ours._ids)
    encoding = tiktoken.Encoding("x", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
    text = text.encode("utf-8", "ignore").decode()
    assert ours.encode(text) == encoding.encode_ordinary(text)


def _trained(cached: list[Tokenizer] = []) -> Tokenizer:  # noqa: B006
    if not cached:
        cached.append(Tokenizer.train(TEXTS, 320))
    return cached[0]
