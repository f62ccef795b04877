"""Which turns are learned, where a file says so: honoured, or refused by name, never silently."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pellucid.data.corpus import open_corpus
from pellucid.data.documents import document_of, preference_of
from pellucid.data.learned import ABOUT_ROWS
from pellucid.data.prepare import write_corpus
from pellucid.data.rows import Row, rows
from pellucid.data.sources import Sources
from pellucid.errors import InputError
from pellucid.tokenizer import Tokenizer
from support.skips import needs

ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
GIVEN = [
    {"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": False}, {"loss": False},
    {"trainable": False}, {"train_on_turn": False}, {"learn": 0}, {"masked": True}, {"mask": 1},
    {"weight": 0, "train": False}, {"weight": 0, "train": None},
]  # fmt: skip
LEARNED = [
    {}, {"constraints": ["none"]},
    {"weight": 1}, {"weight": None}, {"train": True}, {"loss": True}, {"masked": False},
    {"training": True, "weight": 1.0},
]  # fmt: skip
REFUSED = [
    ({"weight": 0.5}, '"weight" of a turn in "messages" is 0.5; it must be 0 or 1'),
    ({"weight": "0"}, '"weight"'),
    ({"train": "no"}, '"train"'),
    ({"train_detail": [{"begin_offset": 0, "train": False}]}, '"train_detail"'),
    ({"loss_scale": 0.3}, '"loss_scale"'),
    ({"ignore_loss": True}, '"ignore_loss"'),
    ({"doNotLearn": True}, '"doNotLearn"'),
    ({"weight": 1, "train": False}, "weight and train of a turn"),
]


def talk(bad: dict, good: dict | None = None, names=("role", "content")) -> list[dict]:
    role, content = names
    return [
        {role: "user", content: "a"},
        {role: "assistant", content: "bad", **bad},
        {role: "user", content: "b"},
        {role: "assistant", content: "good", **(good or {})},
    ]


@pytest.mark.parametrize("key", ["messages", "conversations", "turns"])
@pytest.mark.parametrize("flags", GIVEN)
def test_a_turn_that_is_not_to_be_learned_is_given(key, flags):
    names = ("from", "value") if key == "conversations" else ("role", "content")
    document = document_of(Row("here", {key: talk(flags, names=names)}))
    assert document.unlearned == {1}
    system = {key: talk(flags, names=names), "system": "be kind"}
    assert document_of(Row("here", system)).unlearned == {2}


@pytest.mark.parametrize("flags", LEARNED)
def test_one_that_is_to_be_learned(flags):
    assert document_of(Row("here", {"messages": talk(flags, flags)})).unlearned == frozenset()


@pytest.mark.parametrize(("flags", "said"), REFUSED)
def test_what_cannot_be_honoured_is_named(flags, said):
    with pytest.raises(InputError, match=f"here: {said}"):
        document_of(Row("here", {"messages": talk(flags)}))


def test_a_users_turn_is_not_learned_and_not_silently():
    turns = talk({})
    assert document_of(Row("here", {"messages": [{**turns[0], "weight": 1}, *turns[1:]]}))
    with pytest.raises(InputError, match='"train" of a turn in "messages" says that it is learn'):
        document_of(Row("here", {"messages": [{**turns[0], "train": True}, *turns[1:]]}))


@pytest.mark.parametrize("name", ABOUT_ROWS)
@pytest.mark.parametrize("shape", ["messages", "alpaca", "completion", "pair"])
def test_a_row_that_is_to_count_otherwise_is_refused(name, shape):
    fields = {
        "messages": {"messages": talk({})},
        "alpaca": {"instruction": "a", "output": "b"},
        "completion": {"prompt": "a", "completion": "b"},
        "pair": {"prompt": "a", "chosen": "b", "rejected": "c"},
    }[shape]
    read = preference_of if shape == "pair" else document_of
    ordinary = False if name.startswith("train_on_") else 1
    for value in (None, ordinary):
        read(Row("here", fields | {name: value}))
    for value in (0.5, [1, 0], "x", not ordinary):
        with pytest.raises(InputError, match=f'here has "{name}"'):
            read(Row("here", fields | {name: value}))
    assert document_of(Row("here", {"text": "a", name: 70.5}))  # of a text it may say anything


def test_nemos_mask_names_whose_turns_are_not_learned():
    assert document_of(Row("here", {"messages": talk({}), "mask": "User"}))
    with pytest.raises(InputError, match='"mask": Assistant'):
        document_of(Row("here", {"messages": talk({}), "mask": "Assistant"}))


def test_completions_and_pairs():
    later = [{"role": "assistant", "content": "bad", "weight": 0}, *talk({})[2:]]
    document = document_of(Row("here", {"prompt": "a", "completion": later}))
    assert document.unlearned == {0, 1}
    for side in ("chosen", "rejected"):
        pair = {"prompt": "a", "chosen": talk({})[-1:], "rejected": talk({})[1:2]}
        pair[side] = [pair[side][0] | {"train": False}]
        with pytest.raises(InputError, match=f'the reply in "{side}" is said not to be learned'):
            preference_of(Row("here", pair))


def test_the_mask_of_a_corpus_and_everybodys_words(tmp_path):
    tokenizer = Tokenizer.train(["a"], 261, ROLES)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"messages": talk({"train": False})}) + "\n")
    asked = {"tokenizer": tokenizer, "validation": 0}
    write_corpus([path], tmp_path / "out", **asked)
    tokens = open_corpus(tmp_path / "out").train
    learned = tokenizer.decode(np.asarray(tokens.ids)[np.asarray(tokens.learn) == 1].tolist())
    assert learned == "good<|end|>"
    with pytest.raises(InputError, match="line 1 says of a turn that it is not learned, and --lea"):
        write_corpus([path], tmp_path / "all", **asked, learn_all=True)
    path.write_text(json.dumps({"messages": talk({"train": True})}) + "\n")
    card = write_corpus([path], tmp_path / "all", **asked, learn_all=True)
    assert not card["masked"]


def test_columns_of_parquet_that_say_so_are_read(tmp_path):
    pyarrow = needs("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"messages": [talk({}), talk({})], "weight": [1.0, 0.25]})
    parquet.write_table(table, tmp_path / "a.parquet")
    from pellucid.data.files import find_files

    sources = Sources(files=find_files([tmp_path / "a.parquet"]))
    with pytest.raises(InputError, match=r'row 2 has "weight": 0\.25'):
        list(sources.documents())
    assert len(list(rows(tmp_path / "a.parquet"))) == 2
