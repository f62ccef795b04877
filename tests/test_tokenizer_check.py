"""What a vocabulary must be: the quick look at the whole passes nothing that each entry fails."""

from __future__ import annotations

import gc
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pellucid.errors import TokenizerError
from pellucid.files import Reader
from pellucid.tokenizer import Tokenizer, byte_symbols
from pellucid.tokenizer.bpe import spell, unspell, unspell_all
from pellucid.tokenizer.check import check_each, is_plain
from pellucid.tokenizer.files import read_vocabulary
from pellucid.tokenizer.pairs import ById

BYTES = {symbol: i for i, symbol in enumerate(byte_symbols())}


def test_gpt2s_own_vocabulary_is_seen_at_once(gpt2_files) -> None:
    tables = read_vocabulary(*gpt2_files)
    by_id = ById.of(tables.vocab, tables.merges)
    assert by_id is not None
    assert is_plain(tables.vocab, by_id, tables.special)
    check_each(tables.vocab, tables.merges, tables.special)
    trained = Tokenizer.train(["the cat sat on the mat " * 20], 300)
    assert trained.decode(trained.encode("the cat")) == "the cat"


def damaged(rng: random.Random) -> tuple[dict, list, dict]:
    """A small vocabulary, whole or with something wrong in it."""
    merges, tokens = [], ["a", "b", "Ġ"]
    for _ in range(rng.randrange(7)):
        pair = (rng.choice(tokens), rng.choice(tokens))
        merges.append(pair)
        tokens.append("".join(pair))
    vocab = dict(BYTES)
    for token in dict.fromkeys(map("".join, merges)):
        vocab[token] = len(vocab)
    special = {"<end>": len(vocab)} if rng.random() < 0.5 else {}
    vocab |= special
    for harm in rng.choices(range(10), k=rng.randrange(3)):
        if harm == 0 and merges:
            rng.shuffle(merges)
        elif harm == 1:
            vocab.pop(rng.choice([*vocab][-3:]))
        elif harm == 2:
            vocab[rng.choice(list(vocab))] = rng.choice([0, -1, 300, True, 1.0, "2", None])
        elif harm == 3 and merges:
            merges.append(rng.choice(merges))
        elif harm == 4:
            special = {**special, rng.choice(tokens): vocab.get(rng.choice(tokens), 0)}
        elif harm == 5:
            merges.append(
                rng.choice([("",), ("a", ""), ("a", "b", "a"), ("a", "x y"), (1, 2), "ab"])
            )
        elif harm == 6:
            vocab[rng.choice(["x y", "zz", "\n"])] = len(vocab)
        elif harm == 8:  # one that nothing makes in the place of one that is made
            token = vocab.pop(rng.choice([*vocab][-3:]))
            vocab["zz"] = token
        elif harm == 7 and merges:
            merges.pop(rng.randrange(len(merges)))
    return {**special, **vocab}, merges, special  # the special ones stand among the ids


def test_the_whole_at_once_passes_nothing_that_an_entry_fails() -> None:
    rng = random.Random(7)
    plain = refused = 0
    for _ in range(4000):
        vocab, merges, special = damaged(rng)
        by_id = ById.of(vocab, merges)
        at_once = by_id is not None and is_plain(vocab, by_id, special)
        try:
            unmade = check_each(vocab, merges, special)
        except TokenizerError:
            refused += 1
            assert not at_once, (vocab, merges, special)
        else:
            assert not (at_once and unmade), (vocab, merges, special)
        plain += at_once
    assert plain > 100
    assert refused > 500


@given(st.lists(st.binary(max_size=5)))
def test_bytes_are_spelled_and_read_back(values: list[bytes]) -> None:
    symbols = byte_symbols()
    texts = ["".join(symbols[byte] for byte in value) for value in values]
    assert [spell(value) for value in values] == texts
    assert [unspell(text) for text in texts] == values == unspell_all(texts)


def test_what_is_no_symbol_is_not_read_as_bytes() -> None:
    with pytest.raises(UnicodeEncodeError):
        unspell("a b")


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_lines_of_merges_however_they_end(tmp_path, line: str, end: str) -> None:
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(json.dumps({**BYTES, "ab": 256, "abc": 257}))
    for version in ("", f"#version: 0.2{line}"):
        merges.write_bytes(f"{version}a b{line}ab c{end}".encode())
        assert read_vocabulary(vocab, merges).merges == [("a", "b"), ("ab", "c")]


@pytest.mark.parametrize(
    "wrong", ["a b\nab c d\ne\n", "a b\n c\n", "a  b\n", "a b \nc\n", "a b c\n"]
)
def test_lines_that_are_not_two_tokens(tmp_path, wrong: str) -> None:
    """Too many spaces in one line do not make up for too few in another."""
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(json.dumps({**BYTES, "ab": 256}))
    merges.write_text(wrong)
    with pytest.raises(TokenizerError):
        Tokenizer.from_files(vocab, merges)


NUMBERS = ["0", "1", "-1", "-0", "-0.5", "-0e1", "12345678901234567890", "1" * 20, "1" * 21]


@pytest.mark.parametrize("number", [*NUMBERS, "-" + "9" * 19, "-" + "9" * 20, "0." + "1" * 30])
@pytest.mark.parametrize("beside", ["", "-0", "9" * 30, "\\ud83d\\ude00"])
def test_numbers_beside_what_looks_like_wrong_ones(number: str, beside: str) -> None:
    """A text in the same file that only looks so changes no answer."""

    def answer(data: str) -> object:
        try:
            return Reader().parse_object(data.encode(), "x")["n"]
        except Exception as error:
            return str(error)

    alone = answer(f'{{"n": {number}}}')
    assert answer(f'{{"n": {number}, "t": "{beside}"}}') == alone
    wrong = number == "-0" or (number.lstrip("-").isdigit() and len(number) > 20)
    assert isinstance(alone, str) == wrong


@settings(max_examples=100)
@given(st.text('\\ud8Df0"', max_size=12))
@example("\\ud83d")
@example("\\uD83D\\ude00")
@example("\\\\ud83d")
def test_half_a_surrogate_pair_is_refused_however_it_is_written(text: str) -> None:
    data = f'{{"k": "{text}"}}'
    try:
        whole = json.loads(data)
        valid = set(whole) == {"k"} and whole["k"].encode() is not None
    except (ValueError, UnicodeEncodeError):
        valid = False
    try:
        accepted = set(Reader().parse_object(data.encode(), "x")) == {"k"}
    except Exception:
        accepted = False
    assert accepted == valid


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(gpt2_files, tmp_path, enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        Tokenizer.from_files(*gpt2_files)
        assert gc.isenabled() == enabled
        with pytest.raises(TokenizerError):
            Tokenizer.from_folder(tmp_path)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
