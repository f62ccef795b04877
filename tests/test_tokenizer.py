"""The tokenizer beside tiktoken and Hugging Face's tokenizers (RELIABILITY rows A7, C1–C6)."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pellucid.errors import InputError, TokenizerError
from pellucid.tokenizer import END_OF_TEXT, SPLIT, Tokenizer, byte_symbols, split
from pellucid.tokenizer.bulk import Bulk
from pellucid.tokenizer.learn import learn_merges
from pellucid.tokenizer.pairs import ById
from support.program import python
from support.work import Looks, finishes, steps


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
    own = tokenizer.bulk.by_heap(text)
    bulk = tokenizer.bulk.tiktoken.encode_ordinary(text)
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


@settings(max_examples=100)
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
    ids = [gpt2_tokenizer.ids[bytes([byte])] for byte in value]
    assert gpt2_tokenizer.decode_bytes(ids) == value
    text = value.decode("utf-8", "replace")
    assert gpt2_tokenizer.decode(gpt2_tokenizer.encode(text)) == text


def test_every_single_token_and_its_piece(gpt2_tokenizer) -> None:
    for token in range(50257):
        piece = gpt2_tokenizer.piece(token)
        assert gpt2_tokenizer.decode_bytes([token]) == piece.bytes
        assert piece.text is None or piece.text.encode() == piece.bytes
    assert gpt2_tokenizer.pieces("👍")[0].shown.startswith("⟨F0\u00a09F")
    assert [piece.shown for piece in gpt2_tokenizer.pieces(" a\n\x1b")] == ["␣a", "⏎", "␛"]


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


def test_the_longer_special_goes_first() -> None:
    tokenizer = Tokenizer(BYTES, [], {"<a>": 256, "<a>b": 257})
    assert tokenizer.encode("<a><a>b", ["<a>", "<a>b"]) == [256, 257]
    assert tokenizer.encode("<a>", "<a>") == [256]


def test_an_unknown_special_is_refused(gpt2_tokenizer) -> None:
    with pytest.raises(TokenizerError, match="no such special"):
        gpt2_tokenizer.encode("x", {"<|nobody|>"})


def counted_looks(tokenizer: Tokenizer) -> tuple[Looks, Bulk]:
    """A heap that counts how often it looks at the ranks."""
    by_id = ById.of(tokenizer.tables.vocab, tokenizer.tables.merges)
    assert by_id is not None
    counted = Bulk(tokenizer.ids, by_id)
    counted.ranks = looks = Looks(counted.ranks)
    return looks, counted


@pytest.mark.parametrize("unit", ["^", "0", "a", "'s", " ", "\n"])
def test_repetition_costs_what_its_length_costs(gpt2_tokenizer, references, unit: str) -> None:
    """The heap looks at the ranks three times a byte, however long a word is."""
    text = unit * 10_000
    ids = finishes(lambda: gpt2_tokenizer.encode(text))
    assert ids == references[0](text)
    looks, counted = counted_looks(gpt2_tokenizer)
    assert counted.by_heap(text) == ids
    assert 0 < looks.n <= 3 * len(text)


@pytest.mark.parametrize("unit", [" ", "\n", "\u2003"])
@pytest.mark.parametrize("n", [999, 1000, 1001, 50_000, 1_000_000])
def test_long_runs_of_spaces(gpt2_tokenizer, references, unit: str, n: int) -> None:
    """A million overflow the stack of tiktoken's matcher: no `except Exception` sees that."""
    text = "a" * 5000 + unit * n
    wholes = [text, text + "b", text + "b" + unit * n + "b", unit * n + "'s" + text + " \n b"]
    for whole in wholes if n <= 50_000 else wholes[::3]:
        ids = gpt2_tokenizer.encode(whole)
        assert gpt2_tokenizer.decode(ids) == whole
        if n <= 50_000:
            assert ids == references[0](whole)
        if n <= 1001:
            assert ids == references[1](whole)


def test_a_million_letters(gpt2_tokenizer) -> None:
    """In one word: what costs the square of its length would take hours."""
    n = len(gpt2_tokenizer.encode("x" * 500_000))
    assert len(finishes(lambda: gpt2_tokenizer.encode("x" * 1_000_000))) == 2 * n
    by_heap = {}
    for size in (10_000, 20_000):
        looks, counted = counted_looks(gpt2_tokenizer)
        counted.by_heap("x" * size)
        by_heap[size] = looks.n
    assert by_heap[20_000] <= 2.1 * by_heap[10_000]


@settings(max_examples=100)
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


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_the_fast_path_is_the_plain_loop(gpt2_tokenizer, text: str) -> None:
    """The merge loop of bpe.py is the reference; heap and tiktoken come to the same."""
    plain = [part for word in gpt2_tokenizer.merges(text) for part in word.parts]
    ids = [gpt2_tokenizer.ids[part] for part in plain]
    assert gpt2_tokenizer.bulk.by_heap(text) == ids
    assert gpt2_tokenizer.bulk.by_tiktoken(text.encode("utf-8", "replace").decode()) == ids


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.lists(st.text("abc", min_size=1, max_size=24), max_size=8))
def test_the_fast_path_is_the_plain_loop_on_any_vocabulary(seed: int, texts: list[str]) -> None:
    ours = Tokenizer(*random_vocabulary(random.Random(seed)))
    for text in texts:
        ids = [ours.ids[part] for word in ours.merges(text) for part in word.parts]
        assert ours.bulk.by_heap(text) == ids
        if ours.bulk.tiktoken is not None:
            assert ours.bulk.by_tiktoken(text) == ids


def test_merges_of_a_word_without_end(gpt2_tokenizer) -> None:
    with pytest.raises(InputError, match="shorten it"):
        gpt2_tokenizer.merges("The " + "x" * 5000)
    assert len(gpt2_tokenizer.merges("x" * 1000)) == 1


@pytest.mark.parametrize("ids", [[50257], [-1], [10**30], ["a"], [None], [1.5], [0, 50257]])
def test_ids_outside_the_vocabulary(gpt2_tokenizer, ids) -> None:
    for decode in (gpt2_tokenizer.decode, gpt2_tokenizer.decode_bytes, gpt2_tokenizer.pieces):
        with pytest.raises(TokenizerError, match="not in the vocabulary"):
            decode(ids)
    with pytest.raises(TokenizerError, match="not in the vocabulary"):
        gpt2_tokenizer.stream().push(ids[-1])


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=3), max_size=12))
def test_streaming_holds_three_bytes_at_most(gpt2_tokenizer, values: list[bytes]) -> None:
    ids = [gpt2_tokenizer.ids[bytes([byte])] for value in values for byte in value]
    stream = gpt2_tokenizer.stream()
    seen = ""
    for n, token in enumerate(ids, start=1):
        seen += stream.push(token)
        given_out = gpt2_tokenizer.decode(ids[: n - 3]) if n > 3 else ""
        whole = gpt2_tokenizer.decode(ids[:n])
        assert whole.startswith(seen)
        assert len(seen) >= len(given_out) - 1
        assert len(stream.held) <= 3
    assert seen + stream.flush() == gpt2_tokenizer.decode(ids)


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
        ids = [gpt2_tokenizer.ids[part] for part in parts]
        assert ids == gpt2_tokenizer.encode(word.text)


# Any vocabulary, trained or not, beside `tokenizers`


def random_vocabulary(rng: random.Random) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokens, merges = ["a", "b", "c"], []
    for _ in range(rng.randrange(1, 9)):
        pair = rng.choice(tokens), rng.choice(tokens)
        if pair not in merges and len(pair[0] + pair[1]) < 9:
            merges.append(pair)
            tokens.append(pair[0] + pair[1])
    vocab = {symbol: i for i, symbol in enumerate(byte_symbols())}
    products = list(dict.fromkeys(left + right for left, right in merges))
    if rng.random() < 0.2:
        rng.shuffle(products)
    for product in products:
        vocab.setdefault(product, len(vocab))
    return vocab, merges


def test_any_vocabulary_gives_the_ids_of_tokenizers() -> None:
    """And tiktoken is asked only where its rule comes to the same."""
    from tokenizers import ByteLevelBPETokenizer

    rng = random.Random(1)
    by_tiktoken = 0
    for _ in range(500):
        vocab, merges = random_vocabulary(rng)
        if len({left + right for left, right in merges}) < len(merges):
            continue  # two ways to one token: `tokenizers` then mixes up their ranks
        ours = Tokenizer(vocab, merges)
        theirs = ByteLevelBPETokenizer(vocab, merges)
        texts = ["".join(rng.choices("abc", k=rng.randrange(1, 24))) for _ in range(12)]
        for text in [*texts, *(left + right for left, right in merges)]:
            ids = theirs.encode(text).ids
            assert ours.encode(text) == ids, (merges, text)
            if ours.bulk.tiktoken is not None:
                assert ours.bulk.by_tiktoken(text) == ids, (merges, text)
        whole = all(ours.bulk.merge(token) == [i] for token, i in ours.ids.items())
        ids = [vocab[left + right] for left, right in merges]
        assert (ours.bulk.tiktoken is not None) == (whole and ids == sorted(ids))
        by_tiktoken += ours.bulk.tiktoken is not None
        text = " ".join(texts) * 40
        assert ours.encode(text) == theirs.encode(text).ids
    assert 50 < by_tiktoken < 400


def test_gpt2_goes_to_tiktoken(gpt2_tokenizer) -> None:
    assert gpt2_tokenizer.bulk.tiktoken is not None


# Vocabularies that cannot be trusted (A7)

BYTES = {symbol: i for i, symbol in enumerate(byte_symbols())}


def split_first(pattern: str) -> dict:
    """A pre-tokenizer that splits by a pattern of its own, as newer models' do."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split | {"invert": False}, level]}


@pytest.mark.parametrize(
    ("vocab", "merges", "special", "message"),
    [
        ({**BYTES, "ab": 257}, [("a", "b")], {}, "ids must be 0"),
        ({**BYTES, "ab": 5}, [("a", "b")], {}, "ids must be 0"),
        ({**BYTES, "ab": -1}, [("a", "b")], {}, "ids must be 0"),
        ({**BYTES, "ab": "256"}, [("a", "b")], {}, "no number"),
        ({**BYTES, "ab": True}, [("a", "b")], {}, "no number"),
        (BYTES, [("a", "b")], {}, "is no token"),
        ({**BYTES, **{f"{a}b": 256 + i for i, a in enumerate("acdefghijklmnopqr")}}, [], {},
         "17 tokens are made by no merge"),
        ({**BYTES, "ab": 256}, [("a", "b"), ("a", "b")], {}, "occurs twice"),
        ({**BYTES, "ab": 256}, [("ab", "")], {}, "is no token"),
        ({k: i for i, k in enumerate(k for k in BYTES if k != "a")}, [], {}, "not every text"),
        ({**BYTES, "abc": 256, "ab": 257}, [("ab", "c"), ("a", "b")], {}, "earlier merge"),
        ({**BYTES, "ab": 256}, [("a", "b", "c")], {}, "malformed"),
        ({**BYTES, "ab": 256}, [("a", "b")], {"ab": 256}, "special"),
        (BYTES, [], {"\ud83d": 256}, "not Unicode"),
        (BYTES, [], {"": 256}, "is empty"),
        ({**BYTES, "<|x|>": 256}, [], {"<|x|>": 3}, "two ids"),
    ],
)  # fmt: skip
def test_malformed_vocabularies(vocab, merges, special, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        Tokenizer(vocab, merges, special)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFD"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}},
        {"model": {"type": "WordPiece", "vocab": {}}},
        {"model": {"type": "BPE", "vocab": [], "merges": []}},
        {"model": {"type": "BPE", "vocab": {}, "merges": [["a"]]}},
        {"added_tokens": [{"content": 3}]},
        {"added_tokens": {"a": 1}},
        {"added_tokens": [{"content": END_OF_TEXT, "id": 257, "lstrip": 1}]},
        {"added_tokens": [{"content": END_OF_TEXT, "id": 300}]},
        {"added_tokens": [{"content": END_OF_TEXT}]},
        {"decoder": {"type": "WordPiece"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel"}},
        {"pre_tokenizer": split_first(r"\p{L}+|\s+")},
        {"pre_tokenizer": split_first(SPLIT) | {"pretokenizers": []}},
        {"model": {"type": "BPE", "vocab": BYTES, "merges": [], "ignore_merges": 1}},
        {"model": {"type": "BPE", "vocab": BYTES, "merges": [], "dropout": 0.1}},
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
    path.write_text(json.dumps(table | {"pre_tokenizer": split_first(SPLIT)}))
    assert Tokenizer.from_folder(tmp_path).encode("ab") == [256]
    path.write_text(json.dumps(table | change))
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)


BROKEN = [
    b"", b"\xff\xfe", b"[1]", b"{", b'{"a":1,"a":2}', b"[" * 100_000, b'{"a":NaN}',
    b'{"a":' + b"1" * 9999 + b"}", b'{"\\ud800":1}', b'{"a":null}', b'{"a":[]}', b'{"a":1e400}',
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN)
def test_broken_files(tmp_path, content: bytes) -> None:
    (tmp_path / "vocab.json").write_bytes(content)
    (tmp_path / "merges.txt").write_bytes(b"a b\n")
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", [b"a", b"a b c", b"a b\n\xff", b"ab  c", b"a b\na b", b"x y"])
def test_broken_merges(tmp_path, content: bytes) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({**BYTES, "ab": 256}))
    (tmp_path / "merges.txt").write_bytes(b"#version: 0.2\r\na b\r\n")
    assert Tokenizer.from_folder(tmp_path).encode("ab") == [256]
    (tmp_path / "merges.txt").write_bytes(content)
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)


def test_a_pipe_and_a_giant_are_no_files(tmp_path) -> None:
    for name in ("vocab.json", "merges.txt"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(TokenizerError, match="is not a regular file but a pipe"):
        Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(TokenizerError, match="is longer than"):
        Tokenizer.from_files(tmp_path / "giant", tmp_path / "giant")


def a_folder(tmp_path, beside: dict[str, object]) -> Tokenizer:
    vocab = {**BYTES, "ab": 256, END_OF_TEXT: 257}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("a b\n")
    for name, table in beside.items():
        (tmp_path / name).write_text(json.dumps(table))
    return Tokenizer.from_folder(tmp_path)


ENTRY = {"content": "[PAD]", "lstrip": False, "rstrip": False, "special": True}


@pytest.mark.parametrize(
    "beside",
    [
        {"added_tokens.json": {"[PAD]": 258}},
        {"special_tokens.json": {"[PAD]": 258, END_OF_TEXT: 257}},
        {"tokenizer_config.json": {"added_tokens_decoder": {"258": ENTRY, "256": {"content": "ab"}},
                                   "chat_template": "{{ ''.__class__ }}"}},
    ],
)  # fmt: skip
def test_special_tokens_beside_the_vocabulary(tmp_path, beside) -> None:
    tokenizer = a_folder(tmp_path, beside)
    assert tokenizer.special_tokens == {END_OF_TEXT: 257, "[PAD]": 258}
    assert tokenizer.encode("ab[PAD]", ["[PAD]"]) == [256, 258]
    assert tokenizer.decode([256, 258]) == "ab[PAD]"


@pytest.mark.parametrize(
    "beside",
    [
        {"added_tokens.json": {"[PAD]": 300}},
        {"added_tokens.json": {"[PAD]": 257}},
        {"added_tokens.json": {"[PAD]": "258"}},
        {"added_tokens.json": {"ab": 258}},
        {"special_tokens.json": {END_OF_TEXT: 3}},
        {"tokenizer_config.json": {"add_prefix_space": 1}},
        {"tokenizer_config.json": {"add_bos_token": True, "bos_token": "<s>"}},
        {"tokenizer_config.json": {"tokenizer_class": "RobertaTokenizer"}},
        {"tokenizer_config.json": {"tokenizer_class": ["GPT2Tokenizer"]}},
        {"tokenizer_config.json": {"added_tokens_decoder": [1]}},
        {"tokenizer_config.json": {"added_tokens_decoder": {"x": ENTRY}}},
        {"tokenizer_config.json": {"added_tokens_decoder": {"258": ENTRY | {"rstrip": 1}}}},
        {"tokenizer.json": {"model": {"type": "BPE"}, "pre_tokenizer": split_first("x")}},
    ],
)
def test_foreign_settings_beside_the_vocabulary(tmp_path, beside) -> None:
    with pytest.raises(TokenizerError):
        a_folder(tmp_path, beside)


def test_no_tokenizer(tmp_path) -> None:
    with pytest.raises(TokenizerError, match="holds no tokenizer"):
        Tokenizer.from_folder(tmp_path)


# Training and files

TEXTS = ["the cat sat on the mat, the cat ate 12 fish"] * 3 + ["naïve café 👍"] * 2


def bytes_of_all(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.bytes_of(token) for token in range(tokenizer.n_vocab)]


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
    assert (loaded.ids, bytes_of_all(loaded)) == (first.ids, bytes_of_all(first))
    assert list(loaded.ranks.items()) == list(first.ranks.items())
    assert not list(tmp_path.glob(".*"))
    assert len(first.encode(TEXTS[0])) < len(TEXTS[0]) / 2


def test_transformers_reads_what_we_save(tmp_path) -> None:
    from transformers import GPT2Tokenizer

    ours = Tokenizer.train(TEXTS, 300, special=(END_OF_TEXT, "<|user|>"))
    ours.save(tmp_path)
    theirs = GPT2Tokenizer.from_pretrained(str(tmp_path))
    assert len(theirs) == ours.n_vocab
    for text in (*TEXTS, " spaces  and 'll", "日本"):
        assert theirs.encode(text) == ours.encode(text)
    text = "<|user|>the cat<|endoftext|>"
    assert theirs.encode(text) == ours.encode(text, ours.special_tokens)
    theirs.save_pretrained(str(tmp_path / "back"))  # as tokenizer.json
    back = Tokenizer.from_folder(tmp_path / "back")
    assert (back.ids, bytes_of_all(back), back.ranks) == (ours.ids, bytes_of_all(ours), ours.ranks)
    assert back.special_tokens == ours.special_tokens


def test_training_needs_room() -> None:
    with pytest.raises(InputError, match="n_vocab must be at least 257"):
        Tokenizer.train(TEXTS, 256)
    with pytest.raises(InputError, match="different tokens"):
        Tokenizer.train(TEXTS, 300, special=("<|a|>", "<|a|>"))
    with pytest.raises(InputError, match="different tokens"):
        Tokenizer.train(TEXTS, 300, special=END_OF_TEXT)


def learned_by_tokenizers(texts: list[str], n: int) -> list[tuple[bytes, bytes]]:
    """The merges that Hugging Face's `tokenizers` learns."""
    import tokenizers

    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    learner.pre_tokenizer = byte_level(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + n,
        min_frequency=2,
        initial_alphabet=byte_level.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    value = {symbol: bytes([byte]) for byte, symbol in enumerate(byte_symbols())}
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(b"".join(map(value.get, part)) for part in pair) for pair in merges]


def learned_plainly(texts: list[str], n: int) -> list[tuple[bytes, bytes]]:
    """Count all pairs, merge the most frequent one everywhere, again."""
    symbols = byte_symbols()
    order = sorted(range(256), key=lambda byte: symbols[byte])
    age = {bytes([byte]): i for i, byte in enumerate(order)}
    words = [[bytes([b]) for b in word.encode()] for text in texts for word in split(text)]
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < n:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], age[pair[0]], age[pair[1]]))
        if counts[pair] < 2:
            break
        merges.append(pair)
        age.setdefault(pair[0] + pair[1], len(age))
        for word in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == pair:
                    word[at : at + 2] = [pair[0] + pair[1]]
                at += 1
    return merges


@settings(max_examples=100)
@given(st.lists(st.text("ab é\n'"), max_size=12), st.integers(0, 40))
def test_what_is_learned(texts: list[str], n: int) -> None:
    learned = learn_merges(texts, n)
    assert learned == learned_plainly(texts, n)
    assert learned == learned_by_tokenizers(texts, n)


def test_a_story_is_learned_as_tokenizers_learns_it() -> None:
    rng = random.Random(2)
    words = ["".join(rng.choices("etaoinsh", k=rng.randrange(1, 12))) for _ in range(500)]
    texts = [" ".join(rng.choices(words, k=4000)) for _ in range(3)]
    assert learn_merges(texts, 900) == learned_by_tokenizers(texts, 900)


def texts_of(kind: str) -> str:
    """40,000 bytes of which learning could cost the square."""
    rng = random.Random(3)
    return {
        "DNA on one line": lambda: "".join(rng.choices("ACGT", k=40_000)),
        "Chinese": lambda: "".join(map(chr, (0x4E00 + int(rng.expovariate(0.005)) % 5000
                                             for _ in range(13_400)))),
        "one letter": lambda: "x" * 40_000,
        "distinct words": lambda: " ".join(f"{rng.randrange(10**9):x}" for _ in range(5_000)),
        "words": lambda: " ".join(rng.choices(["the", "cat", "sat", "mat", "Häuser"], k=10_000)),
    }[kind]()  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["DNA on one line", "Chinese", "one letter", "distinct words", "words"]
)
def test_learning_is_linear_in_its_text(kind: str) -> None:
    text = texts_of(kind)
    taken = {
        n: steps(lambda n=n: learn_merges([text[:n]], 300), learn_merges.__code__)
        for n in (len(text) // 4, len(text) // 2)
    }
    less, more = taken.values()
    assert more < 2.2 * less
    # A step that moves the rest of the word would be counted as one: here it would take hours.
    assert finishes(lambda: learn_merges([text * 10], 300))


def test_training_needs_no_library(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert Tokenizer.train(TEXTS, 280).n_vocab == 280


def test_import_is_light() -> None:
    code = (
        "import sys, pellucid.tokenizer; "
        "assert not {'numpy', 'tiktoken', 'regex', 'tokenizers', 'torch'} & set(sys.modules)"
    )
    python(code, check=True)


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return Tokenizer.train(TEXTS, 320)


@given(text=st.text(max_size=100))
def test_own_merges_equal_tiktoken_on_a_trained_vocabulary(trained, text: str) -> None:
    import tiktoken

    encoding = tiktoken.Encoding(
        "x", pat_str=SPLIT, mergeable_ranks=dict(trained.ids), special_tokens={}
    )
    text = text.encode("utf-8", "ignore").decode()
    assert trained.encode(text) == encoding.encode_ordinary(text)
