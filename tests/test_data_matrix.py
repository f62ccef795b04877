"""The field's shapes of rows × formats × packings × encodings and line ends: every cell of them
gives the same rows, for `data`, `eval` and `prefer` alike, which have one reader."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid import checkpoint
from pellucid.data.documents import SHAPES
from pellucid.data.files import ROWS, find_files
from pellucid.data.sources import Sources
from pellucid.errors import InputError
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise
from support.program import invoke
from support.skips import needs

pyarrow = needs("pyarrow")
from pyarrow import parquet  # noqa: E402

ASKED = ['why, "so"?\nsay', "für 好", "🎉\t1"]  # what no format may lose
SAID = ["because;\n\nof it", "é", "'a', \"b\""]
WORSE = ["no", "nein, nie", "ñ"]


def turns(
    asked: str, said: str, role: str = "role", text: str = "content", names=("user", "assistant")
):
    return [{role: names[0], text: asked}, {role: names[1], text: said}]


def reply(said: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": said}]


# Each of them says the same; what it says is in `TALKS`, `PAIRS` or, for plain texts, in `ASKED`.
ROW: dict[str, Callable[[str, str, str], dict[str, object]]] = {
    "text": lambda a, s, w: {"id": 1, "text": a},
    "alpaca": lambda a, s, w: {"instruction": a, "input": "", "output": s},
    "dolly": lambda a, s, w: {"instruction": a, "context": "", "response": s, "category": "x"},
    "sharegpt": lambda a, s, w: {
        "id": "x", "conversations": turns(a, s, "from", "value", ("human", "gpt"))
    },
    "messages": lambda a, s, w: {"messages": turns(a, s)},
    "our turns": lambda a, s, w: {"turns": turns(a, s, text="text")},
    "orca": lambda a, s, w: {"id": 1, "system_prompt": "", "question": a, "response": s},
    "answers": lambda a, s, w: {"question": a, "answer": s},
    "responses": lambda a, s, w: {"prompt": a, "response": s},
    "input and output": lambda a, s, w: {"input": a, "output": s},
    "completion": lambda a, s, w: {"prompt": a, "completion": s},
    "completion in turns": lambda a, s, w: {
        "prompt": turns(a, s)[:1], "completion": reply(s)
    },
    "pairs": lambda a, s, w: {"prompt": a, "chosen": s, "rejected": w},
    "pairs of turns": lambda a, s, w: {
        "prompt": turns(a, s)[:1], "chosen": reply(s), "rejected": reply(w)
    },
    "pairs of conversations": lambda a, s, w: {"chosen": turns(a, s), "rejected": turns(a, w)},
    "pairs of Orca's": lambda a, s, w: {"system": "", "question": a, "chosen": s, "rejected": w},
    "pairs of Orca's, by argilla": lambda a, s, w: {"input": a, "chosen": s, "rejected": w},
    "pairs of hh": lambda a, s, w: {
        f"{side}": f"\n\nHuman: {a}\n\nAssistant: {text}"
        for side, text in (("chosen", s), ("rejected", w))
    },
    "pairs of OpenAI": lambda a, s, w: {
        "input": {"messages": turns(a, s)[:1]},
        "preferred_output": reply(s), "non_preferred_output": reply(w),
    },
}  # fmt: skip
TALKS = [(("user", a), ("assistant", s)) for a, s in zip(ASKED, SAID, strict=True)]
PAIRS = [((("user", a),), s, w) for a, s, w in zip(ASKED, SAID, WORSE, strict=True)]


def cell(value: object) -> object:
    """What has no place in a table's cell stands there as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def table(rows: list[dict[str, object]], delimiter: str) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def as_lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FORMATS: dict[str, Callable[[list[dict[str, object]]], str]] = {
    ".jsonl": as_lines,
    ".ndjson": as_lines,
    ".json": lambda rows: json.dumps(rows, indent=1, ensure_ascii=False) + "\n",
    ".csv": lambda rows: table(rows, ","),
    ".tsv": lambda rows: table(rows, "\t"),
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: bytes(pyarrow.compress(data, codec="zstd", asbytes=True)),
}
WRITTEN: dict[str, Callable[[str], bytes]] = {
    "LF": lambda text: text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
}
CELLS = list(itertools.product(FORMATS, PACKINGS, WRITTEN))


def read(path: Path, name: str) -> list[object]:
    sources = Sources(files=find_files([path]))
    if name.startswith("pairs"):
        return [tuple(pair)[1:] for pair in sources.preferences()]
    return [document.turns or "".join(document.pieces()) for document in sources.documents()]


@pytest.mark.parametrize("name", ROW)
def test_every_cell_gives_the_same_rows(tmp_path, name):
    rows = [ROW[name](*each) for each in zip(ASKED, SAID, WORSE, strict=True)]
    expected = ASKED if name == "text" else PAIRS if name.startswith("pairs") else TALKS
    done = 0
    for form, packing, written in CELLS:
        path = tmp_path / f"{done}{form}{packing}"
        path.write_bytes(PACKINGS[packing](WRITTEN[written](FORMATS[form](rows))))
        assert read(path, name) == expected, (form, packing, written)
        done += 1
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", name) == expected
    assert done == 5 * 5 * 4


def test_nothing_is_left_out():
    assert {*FORMATS, ".parquet"} == set(ROWS)
    assert len(CELLS) == 100
    assert len(ROW) * (len(CELLS) + 1) == 1919
    made = [set(row("a", "b", "c")) for row in ROW.values()]
    shown = {shape.keys for shape in SHAPES if any(set(shape.keys) <= keys for keys in made)}
    # One conversation, by a name that is not its plural, is the one that is not shown.
    assert {shape.keys for shape in SHAPES} - shown == {("conversation",)}


# The first bad row is named, and left out where that is asked for


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "M"
    roles = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    tokenizer = Tokenizer.train(["a b c"], 261, roles)
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=64, n_embd=8, n_head=1, n_layer=1)
    checkpoint.save(folder, hparams, initialise(hparams, 1), tokenizer, template="roles")
    return folder


TABLES = (".csv", ".tsv")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("verb", ["data", "eval", "prefer"])
def test_a_bad_row_is_named_or_counted_by_every_verb(tmp_path, model, verb, form):
    rows: list[dict[str, object]] = [{"prompt": f"{n}?", "completion": "a"} for n in range(4)]
    if verb == "prefer":
        rows = [{"prompt": f"{n}?", "chosen": "a", "rejected": "b"} for n in range(4)]
    if form in TABLES:  # where every cell is a text: a cell too few
        lines = FORMATS[form](rows).split("\n")
        content, line = "\n".join([*lines[:2], "alone", *lines[2:]]), 3
    else:
        content = FORMATS[form]([rows[0], {**rows[0], "prompt": None}, *rows[1:]])
        line = 4 + len(rows[0]) if form == ".json" else 2
    path = tmp_path / f"a{form}.gz"
    path.write_bytes(gzip.compress(content.replace("\n", "\r\n").encode("utf-8-sig")))
    asked = {
        "data": ("data", path, tmp_path / "out", "--tokenizer", model),
        "eval": ("eval", path, "--model", model),
        "prefer": (
            "prefer", path, "--start", model, "--out", tmp_path / "run", "--steps", 1,
            "--batch", 1, "--threads", 1, "--held-out", 0,
        ),
    }[verb]  # fmt: skip
    if verb == "prefer":
        needs("torch")
    refused = invoke(*asked)
    assert isinstance(refused.exception, InputError)
    assert f"{path}, line {line}" in str(refused.exception)
    assert "--skip-bad leaves such rows out" in str(refused.exception)
    done = invoke(*asked, "--skip-bad")
    assert done.exit_code == 0, done.exception
    told = {
        "data": f"Left out: 1 that cannot be read, first a{form}.gz, line {line}",
        "eval": f"Left out: {path}, line {line}",
        "prefer": "1 rows no pairs",
    }[verb]
    assert told in done.output


def test_a_bad_first_row_does_not_hide_what_a_file_is_for(tmp_path, model):
    path = tmp_path / "a.jsonl"
    path.write_text('nonsense\n{"sentence_good": "a b", "sentence_bad": "b"}\n')
    done = invoke("eval", path, "--model", model, "--skip-bad", "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["task"] == "BLiMP"
