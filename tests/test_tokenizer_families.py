"""The tokenizers of SmolLM2, StarCoder, Llama 3 and Qwen2, held against the library."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import pytest

from pellucid import checkpoint
from pellucid.errors import CheckpointError, TokenizerError
from pellucid.hparams import HParams
from pellucid.tokenizer import Rules, Tokenizer, byte_symbols
from pellucid.tokenizer.bpe import compiled, spell
from pellucid.tokenizer.rules import LLAMA3, cut
from pellucid.tokenizer.splits import FAST, GGML
from pellucid.weights import initialise
from support.skips import needs

needs("tokenizers")
from support import families  # noqa: E402
from support.work import calls  # noqa: E402

LETTERS = " \n\r\t\u00a0aSſ'1²é\u0301日!\u2028\x1c\x85\u200d"  # one of each kind, and odd ones
PIECES = [
    *LETTERS, "  ", "\n\n", "\r\n", "'LL", "don't", "12345", "½Ⅻ٣", "e\u0301", "한국어", "👍🏽",
    "?!", "the power", " clapper", "zebras", "    return", "<|im_end|>", "<|eot_id|>", "</think>",
    "Hello", "\x04", "\U0007f000", "ﬁ", "Å", "\u212b", "",
]  # fmt: skip


@pytest.fixture(scope="module", params=list(families.FAMILIES))
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    theirs = families.write(request.param, folder)
    return request.param, Tokenizer.from_folder(folder), theirs


def test_every_text_of_three_characters_becomes_the_same_words(both) -> None:
    """By the steps, by the one pattern that stands for them, and by tiktoken's form of it."""
    name, ours, theirs = both
    steps = ours.rules.steps
    assert steps == GGML[name].steps
    fast = FAST[steps]
    for text in ("".join(t) for n in (1, 2, 3) for t in product(LETTERS, repeat=n)):
        words = list(cut(text, steps))
        pieces = [piece for piece, _ in theirs.pre_tokenizer.pre_tokenize_str(text)]
        assert [spell(word.encode()) for word in words] == pieces
        assert compiled(fast.pattern).findall(text) == words
        assert compiled(fast.possessive).findall(text) == words


def test_the_same_ids(both, tmp_path) -> None:
    name, ours, theirs = both
    ours.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert again.fingerprint() == ours.fingerprint()
    r = random.Random(7)
    for _ in range(600):
        text = "".join(r.choices(PIECES, k=r.randint(0, 8)))
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, set(ours.special_tokens)) == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)
        assert ours.framed(ours.encode(text, set(ours.special_tokens))) == theirs.encode(text).ids
        theirs.encode_special_tokens = True  # in a text they are text
        plain = theirs.encode(text, add_special_tokens=False).ids
        theirs.encode_special_tokens = False
        assert ours.encode(text) == again.encode(text) == plain
        assert ours.encode_many([text]) == [plain]
        words = ours.merges(text)
        shown = [ours.ids[part] for word in words for part in word.parts if part in ours.ids]
        added = {token.id for token in ours.rules.added.values()}
        assert shown == [i for i in plain if i not in added]
    assert name in GGML


def test_long_texts_are_the_same_whichever_way_they_take(both) -> None:
    _, ours, theirs = both
    space = " " * 1500
    for text in (
        families.PAGE * 40,
        f"a{space}b{space}\nc\n{space}12{space}\n\n{space}!" + "\n" * 2000 + "x" + "\r\n" * 1100,
        families.PAGE * 40 + "\x04" + families.PAGE,
    ):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert len(text) > 4096
        assert ours.encode(text) == ours.bulk.by_heap(text) == ids
        assert ours.encode_many([text, text], threads=2) == [ids, ids]


def test_a_word_that_is_a_token_stands_whole_where_merges_are_ignored(tmp_path) -> None:
    theirs = families.write("llama-bpe", tmp_path)
    ours = Tokenizer.from_folder(tmp_path)
    whole = theirs.token_to_id("zebras")
    assert ours.encode("zebras") == theirs.encode("zebras", add_special_tokens=False).ids
    assert ours.encode("zebras") == [whole]
    (word,) = ours.merges("zebras")
    assert (word.parts, word.merges) == ((b"zebras",), ())
    assert any(word.merges for word in ours.merges(families.PAGE[:60]))  # others show theirs
    table = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    table["model"]["ignore_merges"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(table), "utf-8")
    merged = Tokenizer.from_folder(tmp_path).encode("zebras")
    assert (
        merged
        == type(theirs).from_str(json.dumps(table)).encode("zebras", add_special_tokens=False).ids
    )
    assert len(merged) > 1


def test_merges_in_no_order_of_learning_are_read_where_merges_are_ignored() -> None:
    vocab = {token: i for i, token in enumerate([*byte_symbols(), "abc", "ab"])}
    expected = [256, 257, *(vocab[c] for c in "Ġ"), 257, vocab["d"]]
    merges, rules = [("ab", "c"), ("a", "b")], Rules(ignore_merges=True)
    assert Tokenizer(vocab, merges, rules=rules).encode("abcab abd") == expected
    for change, message in (
        ([("ab", "c")], "'ab' is no token that a merge makes"),
        ([*merges, ("a", "b")], "occurs twice"),
        ([*merges, ("a", "x")], "'ax' is no token"),
        ([*merges, ("a",)], "malformed"),
    ):
        with pytest.raises(TokenizerError, match=message):
            Tokenizer(vocab, change, rules=rules)


@pytest.mark.parametrize("listed", [True, False])
def test_no_merge_is_looked_at_by_itself(tmp_path: Path, listed: bool) -> None:
    """Llama 3 has 280,147: from its file to the first text each costs steps of C alone. listed:
    as [left, right], else "left right"."""

    def work(n: int) -> int:
        tokens = map("".join, product(ascii_lowercase, repeat=3))
        longer = [token for token, _ in zip(tokens, range(n), strict=False)]
        made = {*longer, *(token[:2] for token in longer), *(token[1:] for token in longer)}
        vocab = {t: i for i, t in enumerate([*byte_symbols(), *sorted(made)])}
        pairs = [(t[:at], t[at:]) for t in sorted(made) for at in range(1, len(t))]
        folder = tmp_path / f"{n}"
        folder.mkdir()
        Tokenizer(vocab, pairs, rules=Rules(steps=(LLAMA3,), ignore_merges=True)).save(folder)
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()
        table = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        if not listed:
            table["model"]["merges"] = [" ".join(pair) for pair in pairs]
        (folder / "tokenizer.json").write_text(json.dumps(table), "utf-8")
        return calls(lambda: Tokenizer.from_folder(folder).encode("zebras aaab"))

    work(10)  # what is imported and compiled once
    assert work(1500) <= work(150) + 100


def test_bytes_that_a_vocabulary_lacks_are_left_out_and_others_are_not(tmp_path) -> None:
    theirs = families.write("smollm", tmp_path)
    ours = Tokenizer.from_folder(tmp_path)
    assert (
        ours.encode("a\x04b") == theirs.encode("a\x04b").ids == ours.encode("a") + ours.encode("b")
    )
    assert ours.encode(" \x04clapper") == theirs.encode(" \x04clapper").ids  # merged across it
    table = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    vocab = table["model"]["vocab"]
    vocab["q_"] = vocab.pop("q")
    (tmp_path / "tokenizer.json").write_text(json.dumps(table), "utf-8")
    with pytest.raises(TokenizerError, match="byte 0x71 is no token"):
        Tokenizer.from_folder(tmp_path)


def saved(name: str, folder: Path) -> tuple[Tokenizer, Path]:
    """A model with this tokenizer, as GGUF."""
    families.write(name, folder / "t")
    ours = Tokenizer.from_folder(folder / "t")
    hparams = HParams(n_vocab=ours.n_vocab, n_ctx=16, n_embd=32, n_head=2, n_layer=1)
    path = checkpoint.save(folder / "m.gguf", hparams, initialise(hparams), ours, format="gguf")
    return ours, path


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_gguf_says_the_same_by_a_name(name: str, tmp_path: Path) -> None:
    needs("gguf")
    from pellucid.checkpoint.gguf_file import GgufFile

    ours, path = saved(name, tmp_path)
    rule = GgufFile(path).header.metadata["tokenizer.ggml.pre"].decode()
    assert GGML[rule] == GGML[name]
    theirs = checkpoint.load(path).tokenizer
    assert theirs is not None
    assert theirs.fingerprint() == ours.fingerprint()
    for text in ("It'LL be 1234\n\n  zebras", " 12\n</think>e\u0301"):
        assert theirs.encode(text) == ours.encode(text)


def test_what_llama_cpp_has_no_name_for_is_refused(tmp_path: Path) -> None:
    families.write("qwen2", tmp_path)
    table = json.loads((tmp_path / "tokenizer.json").read_text("utf-8")) | {"normalizer": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(table), "utf-8")
    ours = Tokenizer.from_folder(tmp_path)
    hparams = HParams(n_vocab=ours.n_vocab, n_ctx=16, n_embd=32, n_head=2, n_layer=1)
    with pytest.raises(CheckpointError, match="cuts texts by qwen2, which it has no name for"):
        checkpoint.save(tmp_path / "m.gguf", hparams, initialise(hparams), ours, format="gguf")


@pytest.mark.parametrize("change", ["{1,3}", r"\s*[\r\n]+", "(?i:"])
def test_another_pattern_is_refused_by_name(change: str, tmp_path: Path) -> None:
    families.write("llama-bpe", tmp_path)
    path = tmp_path / "tokenizer.json"
    written = json.dumps(change)[1:-1]
    text = path.read_text("utf-8")
    assert written in text
    path.write_text(text.replace(written, {"{1,3}": "{1,2}"}.get(change, "(?:")), "utf-8")
    with pytest.raises(TokenizerError, match=r"its pre_tokenizer Split .*The way on"):
        Tokenizer.from_folder(tmp_path)
