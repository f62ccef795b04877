"""Texts on disk -> documents -> a corpus: what is read, split, masked, refused, and left behind."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import random
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.data import documents as meaning
from pellucid.data import files as reading
from pellucid.data import split as splitting
from pellucid.data import tokens as encoding
from pellucid.data.corpus import open_corpus
from pellucid.data.documents import cut
from pellucid.data.files import find_files
from pellucid.data.pairs import read_pairs
from pellucid.data.prepare import write_corpus
from pellucid.data.rows import rows as rows_of
from pellucid.data.sources import Sources
from pellucid.errors import CheckpointError, InputError
from pellucid.template import TEMPLATES, Message
from pellucid.tokenizer import END_OF_TEXT, Tokenizer
from support.program import invoke, process, run
from support.skips import SHARED, needs, only_with

ROLES = (END_OF_TEXT, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
WORDS = ("the", "power", "clapper", "went", "straight", "to", "jail", "nobody", "knows", "why")


def story(seed: int, n_words: int = 30) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(n_words)) + f", {seed}."


@pytest.fixture(scope="module", autouse=True)
def _without_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([story(i) for i in range(50)], 320, ROLES)


def rows(path: Path, entries: list) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def texts_of(corpus, split: str) -> list[str]:
    """Each document's text, without the end-of-text that must end it."""
    tokenizer = corpus.tokenizer()
    end = tokenizer.special_tokens[END_OF_TEXT]
    tokens = getattr(corpus, split)
    found = []
    for begin, stop in zip(tokens.documents[:-1], tokens.documents[1:], strict=True):
        ids = tokens.ids[begin:stop].tolist()
        assert ids[-1] == end
        found.append(tokenizer.decode(ids[:-1]))
    return found


def read(*texts: Path | str, **how) -> list[str]:
    sources = Sources(files=find_files(texts), **how)
    return [d.begin + "".join(d.rest) for d in sources.documents()]


# Reading


def test_files_folders_and_globs_each_once(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("b.txt", "a.md", "deep/er/c.txt", ".hidden/d.txt", "picture.png"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert read(tmp_path) == ["a.md", "b.txt", "deep/er/c.txt"]
    assert read(f"{tmp_path}/**/*.txt") == ["b.txt", "deep/er/c.txt"]
    assert read(tmp_path / "b.txt", tmp_path, f"{tmp_path}/*.md") == [
        "b.txt",
        "a.md",
        "deep/er/c.txt",
    ]
    names = [file.name for file in find_files([tmp_path], without=tmp_path / "deep")]
    assert names == ["a.md", "b.txt"]


@pytest.mark.parametrize("pack", [gzip.open, bz2.open, lzma.open])
def test_compressed_is_the_same(tmp_path, pack):
    ending = {gzip.open: ".gz", bz2.open: ".bz2", lzma.open: ".xz"}[pack]
    with pack(tmp_path / f"a.txt{ending}", "wb") as file:
        file.write(b"\xef\xbb\xbfone\r\ntwo\n")
    with pack(tmp_path / f"b.jsonl{ending}", "wb") as file:
        file.write(b'{"text": "three\\r\\n"}\n\n{"text": "four"}')
    assert read(tmp_path) == ["one\ntwo\n", "three\r\n", "four"]
    whole = (tmp_path / f"a.txt{ending}").read_bytes()
    (tmp_path / f"a.txt{ending}").write_bytes(whole[:-6])
    with pytest.raises(InputError, match=rf"cannot read .*a\.txt{ending}"):
        read(tmp_path)


def test_zstandard_without_what_reads_it_is_a_clear_word(tmp_path, monkeypatch):
    (tmp_path / "a.txt.zst").write_bytes(b"")
    for name in ("pyarrow", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"needs pyarrow: pip install .* zstd -d"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("split_at", "expected"),
    [
        (None, ["one\n\ntwo\nthree\n---\n\n\nfour\n"]),
        ("blank", ["one", "two\nthree\n---", "four"]),
        ("---", ["one\n\ntwo\nthree", "four"]),
        ("line", ["one", "two", "three", "---", "four"]),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_where_documents_end(tmp_path, monkeypatch, split_at, expected, block):
    monkeypatch.setattr(reading, "BLOCK", block)
    (tmp_path / "a.txt").write_text("one\n\ntwo\nthree\n---\n\n\nfour\n", encoding="utf-8")
    assert read(tmp_path, split_at=split_at) == expected


def test_parquet(tmp_path):
    pyarrow = needs("pyarrow")
    from pyarrow import parquet

    texts = [story(i) for i in range(1000)]
    table = pyarrow.table({"id": range(1000), "text": texts})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    assert read(tmp_path) == texts
    assert read(tmp_path, limit=3) == texts[:3]
    turns = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]]
    parquet.write_table(pyarrow.table({"messages": turns}), tmp_path / "a.parquet")
    (document,) = Sources(files=find_files([tmp_path])).documents()
    assert document.turns == (("user", "hi"), ("assistant", "ho"))
    with pytest.raises(InputError, match=r'a\.parquet, row 1 has no "words": it has messages'):
        read(tmp_path, text_field="words")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        read(tmp_path)


def test_which_field_is_read(tmp_path):
    rows(
        tmp_path / "a.jsonl",
        [{"text": "t", "story": "s", "turns": [{"role": "user", "text": "u"}]}],
    )
    (document,) = Sources(files=find_files([tmp_path])).documents()
    assert document.turns == (("user", "u"),)
    assert read(tmp_path, text_field="story") == ["s"]
    rows(tmp_path / "a.jsonl", [{"talk": [{"role": "assistant", "content": "c"}]}])
    (document,) = Sources(files=find_files([tmp_path]), turns_field="talk").documents()
    assert document.turns == (("assistant", "c"),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b"[1]", "not a JSON object"),
        (b'{"title": "a"}', '"prompt" and "completion": it has title'),
        (b'{"text": 5}', '"text" must be a text, not 5'),
        (b'{"text": null}', '"text" is null'),
        (b'{"text": "\\ud83d"}', "half a character"),
        (b'{"turns": [{"role": "wizard", "text": "a"}]}', '"role" among system, user, assistant'),
        (b'{"turns": [{"role": "user"}]}', '"text" or "content"'),
        (b'{"turns": "hello"}', '"role" among'),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_row_is_named_or_counted(tmp_path, tokenizer, line, message):
    good = b'{"text": "good"}\n'
    (tmp_path / "a.jsonl").write_bytes(good + b"\n" + line + b"\n" + good)
    with pytest.raises(InputError, match=r"a\.jsonl, line 3") as error:
        write_corpus([tmp_path / "a.jsonl"], tmp_path / "out", tokenizer=tokenizer)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()
    card = write_corpus(
        [tmp_path / "a.jsonl"], tmp_path / "out", tokenizer=tokenizer, skip_bad=True
    )
    assert card["skipped"]["bad"] == 1
    assert card["skipped"]["first"].startswith("a.jsonl, line 3")
    assert str(tmp_path) not in json.dumps(card)


def test_text_that_is_no_utf8(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\xff\n")
    (tmp_path / "b.txt").write_bytes(b"good")
    with pytest.raises(InputError, match=r"a\.txt, line 2 is not UTF-8 text"):
        read(tmp_path)
    sources = Sources(files=find_files([tmp_path]), skip_bad=True)
    assert [document.begin for document in sources.documents()] == ["good"]
    assert sources.n_bad == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.txt", "does not exist"),
        ("*.nothing", "does not exist"),
        ("a.pdf", r"\.pdf is not read"),
    ],
)
def test_what_cannot_be_a_source(tmp_path, name, message):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(InputError, match=message):
        find_files([tmp_path / name])
    with pytest.raises(InputError, match="holds no text"):
        find_files([tmp_path])


# A text in pieces


SPACED = st.text(st.sampled_from("ab 1.'s\n\t\u00a0\u2028\x1cé好"), max_size=60)


@given(SPACED, st.integers(1, 9), st.integers(1, 7))
@settings(max_examples=200)
def test_pieces_encode_as_the_whole(text, piece, block):
    tokenizer = Tokenizer.train(["a b ab 's 's  11 1.' é好 " * 9], 300)
    blocks = [text[at : at + block] for at in range(0, len(text), block)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meaning, "PIECE", piece)
        pieces = list(cut(blocks))
        assert pieces == list(cut([text]))
    assert "".join(pieces) == text
    assert [i for part in pieces for i in tokenizer.encode(part)] == tokenizer.encode(text)


@given(st.lists(st.text(max_size=40), max_size=9), st.integers(1, 3))
@settings(max_examples=30)
def test_many_texts_are_encoded_as_one_by_one(texts, threads):
    tokenizer = Tokenizer.train([story(i) for i in range(9)], 300, ROLES)
    texts.append("<|end|> " + " " * 2000 + "end " * 2000)
    assert tokenizer.encode_many(texts, threads) == [tokenizer.encode(text) for text in texts]


# The split


DOCUMENTS = st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=2, max_size=30)


@given(DOCUMENTS, st.sampled_from([0.0, 0.01, 0.3, 0.9]), st.integers(0, 5), st.randoms())
@settings(max_examples=25)
def test_every_document_once_on_one_side_whatever_the_order(texts, validation, seed, rng):
    tokenizer = Tokenizer.train(["a"], 261, ROLES)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        source = rows(Path(folder) / "a.jsonl", [{"text": text} for text in texts])
        how = {"tokenizer": tokenizer, "validation": validation, "seed": seed}
        card = write_corpus([source], out, **how)
        corpus = open_corpus(out)
        train, held_out = texts_of(corpus, "train"), texts_of(corpus, "validation")
        for split, found in (("train", train), ("validation", held_out)):
            assert card["splits"][split]["documents"] == len(found)
            assert card["splits"][split]["bytes"] == sum(len(text.encode()) for text in found)
        distinct = {text.strip() for text in texts}
        if len(distinct) > 1:
            assert sorted(train + held_out) == sorted(texts)
            assert not {t.strip() for t in train} & {t.strip() for t in held_out}
            assert bool(held_out) == bool(validation)
            rng.shuffle(texts)
            rows(source, [{"text": text} for text in texts])
            write_corpus([source], out, **how)
            assert sorted(texts_of(open_corpus(out), "validation")) == sorted(held_out)
        elif validation:
            assert (sorted(train), len(held_out)) == (sorted(texts), 1)


def test_the_share_and_the_seed(tmp_path, tokenizer):
    source = rows(tmp_path / "a.jsonl", [{"text": story(i)} for i in range(2000)])
    sides = []
    for seed in (0, 0, 1):
        write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0.1, seed=seed)
        sides.append(set(texts_of(open_corpus(tmp_path / "out"), "validation")))
        assert 150 < len(sides[-1]) < 250
    assert sides[0] == sides[1] != sides[2]
    # A document keeps its side when others come.
    rows(source, [{"text": story(i)} for i in range(1000, 3000)])
    write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0.1)
    now = set(texts_of(open_corpus(tmp_path / "out"), "validation"))
    assert now & {story(i) for i in range(2000)} == sides[0] & {story(i) for i in range(1000, 2000)}


def test_space_around_a_document_does_not_part_it_from_its_equal(tmp_path, tokenizer):
    entries = [{"text": text} for i in range(60) for text in (story(i), f"\n{story(i)} ")]
    source = rows(tmp_path / "a.jsonl", entries)
    write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0.5)
    held_out = [text.strip() for text in texts_of(open_corpus(tmp_path / "out"), "validation")]
    assert len(held_out) == 2 * len(set(held_out))


def test_pieces_are_the_same_in_any_blocks(monkeypatch):
    monkeypatch.setattr(meaning, "PIECE", 2)
    for blocks in (["one two"], ["one", " two"], ["one ", "two"], list("one two")):
        assert list(cut(blocks)) == ["one", " two"]


def test_a_few_documents_still_have_a_validation_of_fitting_size(tmp_path, tokenizer):
    for name, n_words in (("long", 5000), ("short", 300), ("middling", 1000)):
        (tmp_path / f"{name}.txt").write_text(story(n_words, n_words), encoding="utf-8")
    card = write_corpus([tmp_path], tmp_path / "out", tokenizer=tokenizer)
    assert texts_of(open_corpus(tmp_path / "out"), "validation") == [story(300, 300)]
    assert "nearest to the share" in card["notes"][0]
    # The folder that was written lies in the folder that is read, and is no source of it.
    assert write_corpus([tmp_path], tmp_path / "out", tokenizer=tokenizer) == card


def test_a_lone_document_is_cut_near_its_end(tmp_path, tokenizer):
    text = story(0, 20_000)
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    card = write_corpus([tmp_path / "a.txt"], tmp_path / "out", tokenizer=tokenizer)
    corpus = open_corpus(tmp_path / "out")
    whole = [*corpus.train.ids.tolist(), *corpus.validation.ids.tolist()]
    assert whole == [*tokenizer.encode(text), tokenizer.special_tokens[END_OF_TEXT]]
    assert (corpus.train.n_documents, corpus.validation.n_documents) == (1, 1)
    assert 8000 < card["splits"]["validation"]["bytes"] <= 8192
    assert card["notes"] == ["the corpus is one document: its end is the validation"]


@pytest.mark.parametrize(
    "entries",
    [
        [{"text": "indivisible"}],
        [{"text": story(1)}] * 5,
        [{"turns": [{"role": "user", "text": "hi"}, {"role": "assistant", "text": "ho"}]}],
    ],
)
def test_one_content_alone_is_copied_and_said_so(tmp_path, tokenizer, entries):
    source = rows(tmp_path / "a.jsonl", entries)
    for validation in (0.01, 0.99):
        card = write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=validation)
        counts = [card["splits"][split]["documents"] for split in ("train", "validation")]
        assert counts == [len(entries), 1]
        assert "copy" in card["notes"][0]
    card = write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0)
    assert card["splits"]["validation"]["documents"] == 0


def test_nothing_to_learn_from(tmp_path, tokenizer):
    source = rows(tmp_path / "a.jsonl", [{"text": " \n"}, {"turns": []}])
    with pytest.raises(InputError, match="no document with text"):
        write_corpus([source], tmp_path / "out", tokenizer=tokenizer)


# Conversations


TURNS = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=12)),
    min_size=1,
    max_size=6,
)


@given(
    st.lists(TURNS, min_size=1, max_size=6),
    st.sampled_from(["plain", "dialogpt", "roles"]),
    st.booleans(),
)
@settings(max_examples=30)
def test_only_the_assistants_words_and_their_end_are_learned(talks, template, learn_all):
    tokenizer = Tokenizer.train(["a"], 261, ROLES)
    talks.append([("user", "<|end|>"), ("assistant", "<|assistant|> yes")])
    end = tokenizer.special_tokens[END_OF_TEXT]
    expected = []  # ids, learned, bytes learned; as the chat writes it
    for talk in talks:
        ids, learn = [], []
        for role, text in talk:
            turn = TEMPLATES[template].turn(tokenizer, role, tokenizer.encode(text))
            before = len(TEMPLATES[template].turn(tokenizer, role, [])) - {
                "roles": 1, "dialogpt": 1, "plain": int(role != "user"),
            }[template]  # fmt: skip
            ids += turn
            learn += [0] * before + [int(role == "assistant")] * (len(turn) - before)
        if template != "dialogpt":
            ids, learn = [*ids, end], [*learn, 0]
        if any(text.strip() for _, text in talk):
            expected.append((ids, [1] * len(ids) if learn_all else learn))
    with tempfile.TemporaryDirectory() as folder:
        entries = [{"turns": [Message(*turn)._asdict() for turn in talk]} for talk in talks]
        source = rows(Path(folder) / "a.jsonl", entries)
        card = write_corpus(
            [source], Path(folder) / "out", tokenizer=tokenizer, template=template,
            validation=0, learn_all=learn_all,
        )  # fmt: skip
        tokens = open_corpus(Path(folder) / "out").train
        spans = list(zip(tokens.documents[:-1], tokens.documents[1:], strict=True))
        assert [tokens.ids[a:b].tolist() for a, b in spans] == [ids for ids, _ in expected]
        counts = card["splits"]["train"]
        assert counts["learned"] == sum(sum(learn) for _, learn in expected)
        if learn_all:
            assert tokens.learn is None
            assert counts["learned_bytes"] == counts["bytes"]
        else:
            assert [tokens.learn[a:b].tolist() for a, b in spans] == [m for _, m in expected]


def test_conversations_without_a_reply_teach_nothing_and_it_is_said(tmp_path, tokenizer):
    source = rows(tmp_path / "a.jsonl", [{"turns": [{"role": "user", "text": story(1)}]}])
    card = write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0)
    assert card["splits"]["train"]["learned"] == 0
    assert "nothing in it is to be learned" in card["notes"][-1]
    card = write_corpus([source], tmp_path / "out", tokenizer=tokenizer, learn_all=True)
    assert not any("to be learned" in note for note in card["notes"])


def test_texts_among_conversations_are_learned_whole(tmp_path, tokenizer):
    turns = [{"role": "user", "content": "why"}, {"role": "assistant", "content": "because"}]
    source = rows(tmp_path / "a.jsonl", [{"text": story(1)}, {"messages": turns}])
    card = write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0)
    train = open_corpus(tmp_path / "out").train
    first = int(train.documents[1])
    assert card["masked"]
    assert train.learn[:first].all()
    n = len(tokenizer.encode("because")) + 1
    assert train.learn[first:].sum() == n
    assert card["splits"]["train"]["learned"] == first + n
    assert card["splits"]["train"]["learned_bytes"] == len(story(1)) + len("because")


def test_a_template_that_the_tokenizer_cannot_write(tmp_path):
    source = rows(tmp_path / "a.jsonl", [{"turns": [{"role": "user", "text": "hi"}]}])
    plain = Tokenizer.train(["a"], 257)
    with pytest.raises(InputError, match=r"template 'roles' needs <\|assistant\|>"):
        write_corpus([source], tmp_path / "out", tokenizer=plain)
    assert write_corpus([source], tmp_path / "out", tokenizer=plain, template="dialogpt")["masked"]
    with pytest.raises(InputError, match="which ends each document"):
        write_corpus([source], tmp_path / "out", tokenizer=Tokenizer.train(["a"], 256, []))


# The vocabulary


def test_a_vocabulary_is_learned_without_the_held_out_and_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr(splitting, "SAMPLE", 20_000)
    entries = [{"text": story(i)} for i in range(400)]
    source = rows(tmp_path / "a.jsonl", entries)
    card = write_corpus([source], tmp_path / "out", n_vocab=300)
    assert 19_000 < card["tokenizer"]["sample_bytes"] <= 20_000
    tokenizer = open_corpus(tmp_path / "out").tokenizer()
    assert tokenizer.n_vocab == card["n_vocab"] == 300
    assert list(tokenizer.special_tokens) == list(ROLES)
    files = card["tokenizer"]["sha256"]
    assert set(files) == {path.name for path in (tmp_path / "out/tokenizer").iterdir()}
    for name, digest in files.items():
        content = (tmp_path / "out/tokenizer" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    rows(source, entries[::-1])
    assert write_corpus([source], tmp_path / "out", n_vocab=300)["tokenizer"] == card["tokenizer"]
    # What only the held-out document says has no token.
    rows(source, [{"text": "abcdefgh " * 50}, {"text": "zyxwvu " * 50}])
    for seed in range(20):
        write_corpus([source], tmp_path / "out", validation=0.5, seed=seed, n_vocab=290)
        corpus = open_corpus(tmp_path / "out")
        if not corpus.card["notes"]:
            held_out = texts_of(corpus, "validation")[0].split()[0]
            assert len(corpus.tokenizer().encode(held_out)) == len(held_out)
            break
    else:
        raise AssertionError("no seed put the two on two sides")


def test_a_tokenizer_from_a_model_a_corpus_or_files(tmp_path):
    source = rows(tmp_path / "a.jsonl", [{"text": story(i)} for i in range(3)])
    write_corpus([source], tmp_path / "first", n_vocab=300, template="plain")
    for given_as in (tmp_path / "first", tmp_path / "first/tokenizer"):
        card = write_corpus([source], tmp_path / "out", tokenizer=given_as)
        assert (
            card["tokenizer"]["sha256"]
            == open_corpus(tmp_path / "first").card["tokenizer"]["sha256"]
        )
    assert write_corpus([source], tmp_path / "out", tokenizer="talk")["n_vocab"] < 2000


def test_special_tokens_in_a_text_stay_letters(tmp_path, tokenizer):
    text = f"one {END_OF_TEXT} two <|end|>"
    source = rows(tmp_path / "a.jsonl", [{"text": text}])
    card = write_corpus([source], tmp_path / "out", tokenizer=tokenizer, validation=0)
    ids = open_corpus(tmp_path / "out").train.ids.tolist()
    special = set(tokenizer.special_tokens.values())
    assert [i for i in ids if i in special] == [tokenizer.special_tokens[END_OF_TEXT]]
    assert texts_of(open_corpus(tmp_path / "out"), "train") == [text]
    assert f"--split-at '{END_OF_TEXT}'" in card["notes"][0]


# The folder


def test_the_same_again_byte_for_byte(tmp_path):
    (tmp_path / "in").mkdir()
    rows(tmp_path / "in" / "a.jsonl", [{"text": story(i)} for i in range(300)])
    (tmp_path / "in" / "b.txt").write_text(story(7, 3000), encoding="utf-8")

    def digests(name: str, **how) -> dict[str, bytes]:
        write_corpus([tmp_path / "in"], tmp_path / name, n_vocab=300, validation=0.1, **how)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    first = digests("one")
    assert set(first) > {"card.json", "train.ids", "train.documents", "validation.ids"}
    assert "train.learn" not in first
    assert digests("two", workers=3) == first
    card = json.loads(first["card.json"])
    assert [s["file"] for s in card["sources"]] == ["a.jsonl", "b.txt"]
    assert [s["documents"] for s in card["sources"]] == [300, 1]
    for entry in card["sources"]:
        content = (tmp_path / "in" / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_broken_off_leaves_what_was_there(tmp_path, tokenizer, monkeypatch, error):
    source = rows(tmp_path / "a.jsonl", [{"text": story(i)} for i in range(9)])
    write_corpus([source], tmp_path / "out", tokenizer=tokenizer)
    before = (tmp_path / "out" / "card.json").read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(encoding.SplitWriter, "end_document", fail)
    with pytest.raises((KeyboardInterrupt, CheckpointError)):
        write_corpus([source], tmp_path / "out", tokenizer=tokenizer, seed=1)
    assert (tmp_path / "out" / "card.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "out"]
    open_corpus(tmp_path / "out")


def test_a_folder_of_other_things_is_left_alone(tmp_path, tokenizer):
    source = rows(tmp_path / "a.jsonl", [{"text": story(i)} for i in range(9)])
    with pytest.raises(InputError, match=r"holds a\.jsonl, which no corpus has"):
        write_corpus([source], tmp_path, tokenizer=tokenizer)
    assert source.exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"validation": 1.0}, "share of the documents"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"template": "bard"}, "there are plain, dialogpt, roles"),
        ({"n_vocab": 260}, "n_vocab must be at least 261"),
    ],
)
def test_settings_out_of_range(tmp_path, wrong, message):
    source = rows(tmp_path / "a.jsonl", [{"text": "a"}])
    with pytest.raises(InputError, match=message):
        write_corpus([source], tmp_path / "out", **wrong)


# The verb


def test_the_verb(tmp_path):
    entries = [{"words": story(i)} for i in range(300)]
    rows(tmp_path / "a.jsonl", [*entries, {"words": " "}, {"no": 1}])
    where = (tmp_path / "a.jsonl", tmp_path / "out")
    out = invoke(
        "data", *where, "--n-vocab", 300, "--text-field", "words", "--skip-bad", "--validation", 0.1
    )
    assert out.exit_code == 0, out.output
    card = open_corpus(tmp_path / "out").card
    assert f"{card['splits']['train']['tokens']:,}" in out.output
    assert "Left out: 1 that cannot be read, first a.jsonl, line 302" in out.output
    assert f"pellucid train {tmp_path}/out --out RUN" in out.output.replace("\n", "")
    assert "in place of" not in out.output
    again = run("data", *where, "--tokenizer", "talk", "--text-field", "words", "--skip-bad")
    assert f"Wrote {tmp_path}/out in place of the one that was there: 349 tokens" in again
    assert invoke("data", *where, "--tokenizer", "talk", "--n-vocab", 300).exit_code == 2


def test_where_rows_are_wanted_texts_are_not_offered(tmp_path):
    (tmp_path / "a.txt").write_text("a text")
    with pytest.raises(InputError) as error:
        list(rows_of(tmp_path / "a.txt"))
    assert str(error.value).startswith(f"{tmp_path / 'a.txt'} is no file of rows; give *.jsonl, ")
    assert "*.txt" not in str(error.value)


def test_a_mistake_is_one_line(tmp_path):
    done = process("data", tmp_path / "none.txt", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


# Size


def _peak(texts: Path, out: Path, tokenizer: Tokenizer) -> int:
    write_corpus([texts], out.with_name("warm"), tokenizer=tokenizer, limit=10)
    tracemalloc.start()
    try:
        write_corpus([texts], out, tokenizer=tokenizer)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["many.jsonl", "one.txt"])
def test_memory_does_not_grow_with_the_texts(tmp_path, tokenizer, name):
    text = story(0, 4000)  # 20 kB
    with (tmp_path / name).open("w", encoding="utf-8") as file:
        for i in range(2500):  # 50 MB
            whole = f"{i} {text}"
            file.write(json.dumps({"text": whole}) + "\n" if name == "many.jsonl" else whole)
    assert (tmp_path / name).stat().st_size > 45 << 20
    assert _peak(tmp_path / name, tmp_path / "out", tokenizer) < 48 << 20


@pytest.mark.slow
@only_with("the shared texts")
def test_real_conversations(tmp_path):
    card = write_corpus([SHARED / "simple_instructions.jsonl.xz"], tmp_path / "out", n_vocab=2048)
    assert card["conversations"] == 8883
    corpus = open_corpus(tmp_path / "out")
    assert card["splits"]["train"]["learned"] == int(corpus.train.learn.sum())


def test_what_a_tokenizer_begins_a_text_with_begins_every_document(tmp_path, tokenizer):
    """As a prompt begins, or the model would be trained on other texts than it is asked with."""
    made = tmp_path / "T"
    made.mkdir()
    tokenizer.save(made)
    config = made / "tokenizer_config.json"
    table = json.loads(config.read_text()) | {"add_bos_token": True, "add_eos_token": True}
    config.write_text(json.dumps(table))
    ruled = Tokenizer.from_folder(made)
    end = tokenizer.special_tokens[END_OF_TEXT]
    assert (ruled.rules.begin, ruled.rules.end) == ((end,), (end,))
    texts = rows(tmp_path / "a.jsonl", [{"text": story(i)} for i in range(3)])
    write_corpus([texts], tmp_path / "texts", tokenizer=ruled, validation=0)
    corpus = open_corpus(tmp_path / "texts")
    wanted = [i for n in range(3) for i in (*tokenizer.encode(story(n)), end)]
    assert corpus.train.ids.tolist() == wanted  # one end before each is enough
    user = tokenizer.special_tokens["<|user|>"]
    config.write_text(json.dumps(table | {"bos_token": "<|user|>"}))
    write_corpus([texts], tmp_path / "others", tokenizer=made, validation=0)
    wanted = [i for n in range(3) for i in (user, *tokenizer.encode(story(n)), end)]
    assert open_corpus(tmp_path / "others").train.ids.tolist() == wanted
    turns = [{"role": "user", "content": "the"}, {"role": "assistant", "content": "power"}]
    talk = rows(tmp_path / "b.jsonl", [{"messages": turns}])
    write_corpus([talk], tmp_path / "talks", tokenizer=ruled, validation=0)
    corpus = open_corpus(tmp_path / "talks")
    assert corpus.train.ids[0] == end != corpus.train.ids[1]
    assert not corpus.train.learn[0]
    pairs = rows(tmp_path / "c.jsonl", [{"prompt": "the", "chosen": "power", "rejected": "jail"}])
    template = TEMPLATES["roles"]
    (pair,) = read_pairs(pairs, template, ruled).pairs
    (plain,) = read_pairs(pairs, template, tokenizer).pairs
    assert pair.prompt == (end, *plain.prompt)
    assert pair.chosen[pair.n_prompt :] == plain.chosen[plain.n_prompt :]
