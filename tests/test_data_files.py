"""What a person's files look like: packings, encodings, line ends, formats, and shapes of rows."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.data.documents import SHAPES, document_of, preference_of
from pellucid.data.files import find_files
from pellucid.data.pairs import read_pairs
from pellucid.data.prepare import write_corpus
from pellucid.data.rows import Row, rows
from pellucid.data.sources import Sources, read_text
from pellucid.errors import InputError
from pellucid.template import TEMPLATES, Message
from pellucid.tokenizer import Tokenizer
from support.skips import needs

pyarrow = needs("pyarrow")

ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEXTS = ['one\ntwo, "three"', "für 好 🎉", "x" * 9]


def zstandard(data: bytes) -> bytes:
    half = len(data) // 2  # two frames, as `zstd` writes of two files put together
    pack = lambda part: pyarrow.compress(part, codec="zstd", asbytes=True)  # noqa: E731
    return bytes(pack(data[:half]) + pack(data[half:]))


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
    ".zst": zstandard,
}  # fmt: skip
MARKS = {
    "utf-8": b"", "utf-8-sig": b"", "utf-16": b"", "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE, "utf-32": b"",
}  # fmt: skip


def table(delimiter: str) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(
        [["id", "text"], *([str(at), text] for at, text in enumerate(TEXTS))]
    )
    return file.getvalue()


FORMATS = {
    ".txt": "\n".join(TEXTS),
    ".jsonl": "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in TEXTS),
    ".json": json.dumps([{"text": t} for t in TEXTS], indent=1, ensure_ascii=False) + "\n",
    ".csv": table(","),
    ".tsv": table("\t"),
}


def read(path: Path, **how) -> list[str]:
    return ["".join(d.pieces()) for d in Sources(files=find_files([path]), **how).documents()]


def pack(folder: Path, form: str, packing: str = "", encoding: str = "utf-8", end: str = "\n"):
    path = folder / f"a{form}{packing}"
    text = FORMATS[form].replace("\n", end)
    path.write_bytes(PACKINGS[packing](MARKS[encoding] + text.encode(encoding)))
    return path


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_ending_and_every_format(tmp_path, form, packing):
    path = pack(tmp_path, form, packing)
    assert read(path) == (["\n".join(TEXTS)] if form == ".txt" else TEXTS)
    if form == ".txt":
        assert read_text(path) == "\n".join(TEXTS)
    else:
        assert [row.fields["text"] for row in rows(path)] == TEXTS
    if packing:
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(InputError, match=rf"cannot read {path}: \w"):
            read(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("form", FORMATS)
def test_encodings_and_line_ends_are_the_same_text(tmp_path, form, encoding, end):
    path = pack(tmp_path, form, "", encoding, end)
    assert read(path) == (["\n".join(TEXTS)] if form == ".txt" else TEXTS)


def test_utf_16_without_a_mark(tmp_path):
    for encoding in ("utf-16-le", "utf-16-be"):
        (tmp_path / "a.txt").write_bytes("plain".encode(encoding))
        assert read_text(tmp_path / "a.txt") == "plain"
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_LE + "ab\n".encode("utf-16-le") + b"\0\xd8")
    with pytest.raises(InputError, match="UTF-16"):
        read_text(tmp_path / "a.txt")


def test_json_objects_one_after_the_other(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"text": "one"}\n{"text":\n "two"} {"text": "three"}', encoding="utf-8")
    assert read(path) == ["one", "two", "three"]
    assert [row.place for row in rows(path)] == [f"{path}, line {n}" for n in (1, 2, 3)]
    for text, message in (
        ('[{"text": "a"}', "has no end"),
        ('[{"text": "a"}\n {"text": "b"}]', "line 2 is not JSON: its array does not go on"),
        ('[{"text": "a"}] more', "follows its array"),
        ('[{"text": "a"},\n\n oh]', "line 3 is not JSON"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read(path)
    path.write_text('[{"text": "a"},\n 5, {"text": "b"}]', encoding="utf-8")
    with pytest.raises(InputError, match="line 2 is not a JSON object"):
        read(path)
    assert read(path, skip_bad=True) == ["a", "b"]


def test_csv_rows_are_named_by_their_first_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,id\n"one\nmore",1\ntwo\n\nthr\xffee,3\nfour,4\n')
    with pytest.raises(InputError, match=r"a\.csv, line 4 has 1 cells; the first line names 2"):
        read(path)
    sources = Sources(files=find_files([path]), skip_bad=True)
    assert [document.begin for document in sources.documents()] == ["one\nmore", "four"]
    assert sources.n_bad == 2
    assert "line 6 is not UTF-8 text: byte 0xff" in sources.first_bad[1]
    path.write_text('text\n"one', encoding="utf-8")
    with pytest.raises(InputError, match="line 2 is not CSV"):
        read(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    """The last of them was taken."""
    (tmp_path / "a.csv").write_text("id,text, text\n1,a,b\n")
    with pytest.raises(InputError, match=r"a\.csv, line 1 names two columns 'text'"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text", ['[\n {"text": "a"}\n]\n', '{\n "text": "a"\n}', '[{"text": "a"},\n']
)
def test_json_on_several_lines_is_told_its_name(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"line 1 is not JSON: .*on several is named \.json"):
        read(tmp_path / "a.jsonl")


# What a row means

TALK = (("user", "hi"), ("assistant", "ho"))
SPOKEN = {
    "turns": {"turns": [{"role": "user", "text": "hi"}, {"role": "assistant", "text": "ho"}]},
    "messages": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "h"}, {"text": "i"}]},
            {"role": "assistant", "content": "ho", "tool_calls": None},
        ]
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]
    },
    "alpaca": {"instruction": "hi", "input": "", "output": "ho"},
    "dolly": {"instruction": "hi", "context": "", "response": "ho", "category": "open_qa"},
    "completion": {"prompt": "hi", "completion": "ho"},
    "completion in turns": {
        "prompt": [{"role": "user", "content": "hi"}],
        "completion": [{"role": "assistant", "content": "ho"}],
    },
}


@pytest.mark.parametrize("name", SPOKEN)
def test_the_fields_common_shapes(name):
    assert document_of(Row("there", SPOKEN[name])).turns == TALK


def test_a_table_of_shapes_through_parquet(tmp_path):
    from pyarrow import parquet

    for name, fields in SPOKEN.items():
        if name == "messages":  # a column is of one type: no text beside parts
            continue
        parquet.write_table(pyarrow.Table.from_pylist([fields]), tmp_path / "a.parquet")
        (document,) = Sources(files=find_files([tmp_path])).documents()
        assert document.turns == TALK, name


def test_more_of_a_row():
    fields = {
        "instruction": "sum up", "input": "a text", "output": "so", "system": "be kind",
        "history": [["hi", "ho"]],
    }  # fmt: skip
    assert document_of(Row("there", fields)).turns == (
        ("system", "be kind"), *TALK, ("user", "sum up\n\na text"), ("assistant", "so"),
    )  # fmt: skip
    del fields["system"], fields["history"]
    fields |= {"system_prompt": "be kind", "history": '[["hi", "ho"]]'}  # as CSV has it
    assert document_of(Row("there", fields)).turns[:3] == (("system", "be kind"), *TALK)
    turns = {
        "messages": [{"role": "developer", "content": "be kind"}, {"role": "User", "content": "a"}]
    }
    assert document_of(Row("there", turns)).turns == (("system", "be kind"), ("user", "a"))


def test_turns_of_weight_0_are_given_and_not_learned(tmp_path):
    tokenizer = Tokenizer.train(["a"], 261, ROLES)
    entry = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "bad", "weight": 0},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "good", "weight": 1},
        ]
    }
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(entry) + "\n")
    card = write_corpus([path], tmp_path / "out", tokenizer=tokenizer, validation=0)
    assert card["splits"]["train"]["learned"] == len("good") + 1
    shown = [{"role": "assistant", "content": "earlier"}, {"role": "user", "content": "b"}]
    path.write_text(json.dumps({"prompt": shown, "completion": "good"}) + "\n")
    card = write_corpus([path], tmp_path / "out", tokenizer=tokenizer, validation=0)
    assert card["splits"]["train"]["learned"] == len("good") + 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": None}, '"text" is null'),
        ({"text": None, "id": 3}, '"text" is null'),
        ({"messages": [{"role": "assistant", "content": None}]}, '"content" is null'),
        ({"messages": [{"role": "tool", "content": "4"}]}, "the role is tool"),
        ({"messages": [{"role": "function", "content": "4"}]}, "the role is function"),
        ({"messages": ["hi"]}, "is hi"),
        ({"messages": [{"role": "user"}]}, "is neither"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"messages": [{"role": "user", "content": "a", "weight": 0.5}]}, '"weight"'),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}]},
            '"tool_calls"',
        ),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [{"a": 1}]}, '"tools"'),
        ({"prompt": "a", "completion": "b", "label": False}, '"label"'),
        ({"prompt": "a", "completion": "b", "label": "False"}, '"label"'),  # from a table
        ({"prompt": "a", "completion": "b", "label": 0}, '"label"'),
        ({"instruction": "a", "output": "b", "history": [["c", "d"], ["e"]]}, '"history"'),
        ({"instruction": "a", "output": "b", "history": "c"}, '"history"'),
        ({"instruction": "a", "output": "b", "images": ["x.png"]}, '"images"'),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "pellucid prefer"),
        ({"prompt": "a"}, '"prompt" and "completion": it has prompt'),
    ],
)
def test_what_cannot_be_learned_is_named(fields, message):
    with pytest.raises(InputError, match=message) as error:
        document_of(Row("a.jsonl, line 7", fields))
    assert "a.jsonl, line 7" in str(error.value)


USER, GOOD, BAD = (
    {"role": "user", "content": "why"}, {"role": "assistant", "content": "so"},
    {"role": "assistant", "content": "no"},
)  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "why", "chosen": "so", "rejected": "no"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "why", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {
            "chosen": "\n\nHuman: why\n\nAssistant: so",
            "rejected": "\n\nHuman: why\n\nAssistant: no",
        },
    ],
)
def test_pairs_of_replies(fields):
    preference = preference_of(Row("there", fields))
    assert preference == ("there", (Message("user", "why"),), "so", "no")


RULE = {"role": "system", "content": "be kind"}


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "be kind", "prompt": "why", "chosen": "so", "rejected": "no"},
        {"system": "be kind", "question": "why", "chosen": "so", "rejected": "no"},
        {"system": "be kind", "instruction": "why", "input": "", "chosen": "so", "rejected": "no"},
        {"system": "be kind", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"system": "be kind", "prompt": "why", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "why", "chosen": [RULE, USER, GOOD], "rejected": [RULE, USER, BAD]},
        {"prompt": [RULE, USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {
            "conversations": [RULE, {"from": "human", "value": "why"}],
            "chosen": {"from": "gpt", "value": "so"},
            "rejected": {"from": "gpt", "value": "no"},
        },
        {
            "input": {"messages": [RULE, USER]},
            "preferred_output": [GOOD],
            "non_preferred_output": [BAD],
        },
        {"system_prompt": "be kind", "prompt": "why", "chosen": "so", "rejected": "no"},
        {"system": "be kind", "input": "why", "chosen": "so", "rejected": "no"},
        {"system": "be kind", "prompt": "\n\nHuman: why\n\nAssistant:", "chosen": "so",
         "rejected": "no"},
    ],
)  # fmt: skip
def test_what_stands_beside_a_pair_is_not_lost(fields):
    asked = (Message("system", "be kind"), Message("user", "why"))
    assert preference_of(Row("there", fields)) == ("there", asked, "so", "no")


def test_earlier_exchanges_beside_a_pair_are_not_lost():
    fields = {"instruction": "why", "history": [["hi", "ho"]], "chosen": "so", "rejected": "no"}
    asked = (*(Message(*turn) for turn in TALK), Message("user", "why"))
    assert preference_of(Row("there", fields)) == ("there", asked, "so", "no")


def test_a_prompt_that_is_not_the_replies_own_is_named():
    """It was learned as two questions one after the other."""
    fields = {"prompt": "why ", "chosen": [USER, GOOD], "rejected": [USER, BAD]}
    with pytest.raises(InputError, match="there: the prompt is not the one in chosen and rejected"):
        preference_of(Row("there", fields))


def test_a_pair_with_an_empty_reply_is_no_pair(tmp_path):
    """An end of turn and nothing else was learned as the better reply."""
    tokenizer = Tokenizer.train(["a"], 261, ROLES)
    path = tmp_path / "a.jsonl"
    rows = [("", "no"), ("so", " "), ("so", "no")]
    path.write_text("\n".join(json.dumps({"prompt": "a", "chosen": c, "rejected": r})
                              for c, r in rows))  # fmt: skip
    with pytest.raises(InputError, match=r"line 1: the prompt or a reply is empty; .*line 2"):
        read_pairs(path, TEMPLATES["roles"], tokenizer)
    found = read_pairs(path, TEMPLATES["roles"], tokenizer, skip_bad=True)
    assert (len(found.pairs), found.n_bad) == (1, 2)


def test_a_system_text_beside_a_prompt_and_its_completion():
    fields = {"system": "be kind", "prompt": "hi", "completion": "ho"}
    document = document_of(Row("there", fields))
    assert document.turns == (("system", "be kind"), *TALK)
    assert document.unlearned == {0, 1}


@pytest.mark.parametrize("fields", [{"chosen": "so", "rejected": "no", "system": "be kind"}])
def test_a_pair_needs_a_prompt(fields):
    with pytest.raises(InputError, match='a pair needs a "prompt"'):
        preference_of(Row("there", fields))


def test_tools_beside_a_pair_are_named():
    fields = {"input": {"messages": [USER], "tools": [{"a": 1}]}, "preferred_output": [GOOD],
              "non_preferred_output": [BAD]}  # fmt: skip
    with pytest.raises(InputError, match='there has "tools"'):
        preference_of(Row("there", fields))


def test_pairs_from_every_kind_of_file_and_bad_ones_counted(tmp_path):
    tokenizer = Tokenizer.train(["a"], 261, ROLES)
    good = {"prompt": "why", "chosen": "so", "rejected": "no"}
    equal = {"prompt": "why", "chosen": "so", "rejected": "so"}
    none = {"prompt": "why", "chosen": "so", "rejected": None}
    path = tmp_path / "a.jsonl.gz"
    text = "\r\n".join(map(json.dumps, [good, none, equal, good]))
    path.write_bytes(gzip.compress(codecs.BOM_UTF8 + text.encode()))
    with pytest.raises(InputError, match=r'line 2: "rejected" is null \(--skip-bad leaves'):
        read_pairs(path, TEMPLATES["roles"], tokenizer)
    pairs, n_bad, n_equal = read_pairs(path, TEMPLATES["roles"], tokenizer, skip_bad=True)
    assert (len(pairs), n_bad, n_equal) == (2, 1, 1)
    assert pairs[0] == pairs[1]
    path = tmp_path / "a.csv"
    path.write_text("prompt,chosen,rejected\nwhy,so,no\n", encoding="utf-8")
    assert read_pairs(path, TEMPLATES["roles"], tokenizer)[0] == pairs[:1]


def test_the_table_names_each_key_once():
    assert len({shape.keys for shape in SHAPES}) == len(SHAPES)
