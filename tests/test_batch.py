"""A corpus through a model: what stands in the rows, and that a run that was killed goes on."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pellucid
from pellucid import checkpoint
from pellucid.batch import Job, Reading, run
from pellucid.batch.documents import Item
from pellucid.batch.worker import Worker
from pellucid.errors import InputError
from pellucid.inspect import attribute
from pellucid.sampling import log_softmax
from pellucid.sequence import Settings
from pellucid.template import TEMPLATES, Message
from support.program import invoke, python
from support.program import run as program
from support.server import WORDS, talker
from support.skips import needs

needs("pyarrow")

import pyarrow.parquet as parquet  # noqa: E402

SETTINGS = Settings.of(max_tokens=12, temperature=1.0, seed=3)
ALL = {"loss": True, "heads": 3, "names": ("attn.pattern", "resid_post", "logits")}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    gpt = talker(64)
    tensors = {name: np.asarray(array) for name, array in gpt.model.tensors().items()}
    return checkpoint.save(
        tmp_path_factory.mktemp("models") / "talker", gpt.hparams, tensors, gpt.tokenizer,
        template="roles",
    )  # fmt: skip


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = tmp_path / "texts"
    (folder / "below").mkdir(parents=True)
    words = WORDS.split()
    for n in range(6):
        text = " ".join(words[n:] + words[: n % 3])
        (folder / "below" / f"{n}.txt").write_text(text, encoding="utf-8")
    (folder / "long.txt").write_text(WORDS * 30, encoding="utf-8")
    rows = [
        {"turns": [{"role": "user", "text": "the cat"}, {"role": "assistant", "text": "sat"}]},
        {"turns": [{"role": "system", "text": "on a mat"}, {"role": "user", "text": "<|end|>"}]},
        {"text": "the king went home"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    return folder


def rows_of(folder: Path) -> dict[str, dict]:
    """As any reader of Parquet gets them: the folder is one table."""
    listed = parquet.read_table(folder).to_pylist()
    found = {row["id"]: row for row in listed}
    assert len(found) == len(listed)
    return found


def close(one: dict, other: dict) -> None:
    """The same row; numbers as near as a batch's are to one text's."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name == "logprobs":
            np.testing.assert_allclose(value, other[name], atol=1e-5, rtol=0)
        else:
            assert value == other[name], name


def test_many_at_once_equal_one_at_a_time(model, texts, tmp_path) -> None:
    job = Job(model=str(model), settings=SETTINGS, rows=4, **ALL)
    done = run(job, [texts], tmp_path / "out")
    assert (done.rows, done.before, done.bad) == (10, 0, ())
    found = rows_of(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 3
    worker = Worker(job, job.load())
    names = [f"below/{n}.txt" for n in range(6)] + ["long.txt"]
    items = [Item(name, (texts / name).read_text("utf-8")) for name in names]
    items += [
        Item("rows.jsonl, line 1", "", (Message("user", "the cat"),)),
        Item("rows.jsonl, line 2", "", (Message("system", "on a mat"), Message("user", "<|end|>"))),
        Item("rows.jsonl, line 3", "the king went home"),
    ]
    assert {item.id for item in items} == set(found)
    as_kept = needs("pyarrow").Table.from_pylist
    for item in items:
        (row,) = as_kept([worker.row(item)], schema=job.schema()).to_pylist()
        close(row, found[item.id])
    worker.close()
    assert len({row["seed"] for row in found.values()}) == 10
    assert len({tuple(row["ids"]) for row in found.values()}) > 5


def test_what_stands_in_a_row(model, texts, tmp_path) -> None:
    """Beside what the same model says when it is asked by hand."""
    job = Job(model=str(model), settings=SETTINGS, layers=(1,), positions=(-1, -2), **ALL)
    run(job, [texts], tmp_path / "out")
    found, gpt = rows_of(tmp_path / "out"), pellucid.load(model)
    row, text = found["below/2.txt"], (texts / "below" / "2.txt").read_text("utf-8")
    assert row["prompt"] == gpt.encode(text)
    assert row["n_left_out"] == 0
    generation = gpt.generate(text, SETTINGS, seed=row["seed"])
    assert generation.text == row["text"]
    assert [step.token for step in generation.steps] == row["ids"]
    assert generation.reason == row["reason"]

    given = [gpt.tokenizer.end_of_text, *gpt.encode(text)]
    rows = log_softmax(gpt.logits(given).astype(np.float64))
    nats = [-rows[at, token] for at, token in enumerate(given[1:])]
    assert row["n_scored"] == len(nats)
    assert row["loss"] == pytest.approx(np.mean(nats), abs=1e-5)

    shares = attribute(gpt, text, row["ids"][0]).heads
    largest = sorted(shares.ravel(), reverse=True)[:3]
    assert [head["logit"] for head in row["heads"]] == pytest.approx(largest)
    assert all(shares[h["layer"], h["head"]] == pytest.approx(h["logit"]) for h in row["heads"])

    seen = {}
    gpt.forward([gpt.encode(text)], tap=lambda name, value: seen.setdefault(name, value))
    values = {each["name"]: each for each in row["values"]}
    assert set(values) == {"blocks.1.attn.pattern", "blocks.1.resid_post", "logits"}
    for name, each in values.items():
        wanted = seen[name][0][..., [-1, -2], :]
        assert each["shape"] == list(wanted.shape)
        np.testing.assert_allclose(each["data"], wanted.ravel(), atol=1e-5)

    long = found["long.txt"]
    assert len(long["prompt"]) == 64 - 12
    assert long["n_left_out"] == long["n_tokens"] - 52 > 0
    assert long["prompt"] == gpt.encode((texts / "long.txt").read_text("utf-8"))[-52:]
    chat = TEMPLATES["roles"].render(gpt.tokenizer, [Message("user", "the cat")])
    assert found["rows.jsonl, line 1"]["prompt"] == chat


@pytest.mark.parametrize("killed", ["between parts", "while one is written"])
def test_killed_and_started_again_it_does_what_is_missing(killed, model, texts, tmp_path) -> None:
    needs("POSIX")
    job = Job(model=str(model), settings=SETTINGS, rows=2)
    run(job, [texts], tmp_path / "whole")
    code = """
import os, signal, sys
import pyarrow.parquet as parquet
from pellucid.batch import Job, run
from pellucid.sequence import Settings
def end(n):
    if n >= 4: os.kill(os.getpid(), signal.SIGKILL)
whole, calls = parquet.write_table, []
def half(table, path, **options):
    calls.append(path)
    if len(calls) == 3:
        open(path, "wb").write(b"PAR1 and no more")
        end(4)
    whole(table, path, **options)
if sys.argv[4] == "while one is written":
    parquet.write_table, end_between = half, None
else:
    end_between = end
settings = Settings.of(max_tokens=12, temperature=1.0, seed=3)
job = Job(model=sys.argv[1], settings=settings, rows=2)
run(job, [sys.argv[2]], sys.argv[3], on_progress=end_between)
"""
    out = tmp_path / "out"
    ended = python(code, model, texts, out, killed)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    before = {path: path.read_bytes() for path in out.glob("part-*.parquet")}
    assert len(before) == 2
    done = run(job, [texts], out)
    assert (done.before, done.rows) == (4, 6)
    assert all(path.read_bytes() == data for path, data in before.items())
    found, wanted = rows_of(out), rows_of(tmp_path / "whole")
    assert found.keys() == wanted.keys()
    for id, row in found.items():
        close(row, wanted[id])
    assert [path.name for path in out.glob(".*")] == []
    again = run(job, [texts], out)
    assert (again.before, again.rows) == (10, 0)


def test_what_changed_is_computed_and_what_moved_is_not(model, texts, tmp_path) -> None:
    job = Job(model=str(model), settings=Settings(max_tokens=2))
    assert run(job, [texts], tmp_path / "out").rows == 10
    moved = tmp_path / "elsewhere" / "corpus"
    shutil.copytree(texts, moved)
    copy = shutil.copytree(model, tmp_path / "the same model")
    assert run(replace(job, model=str(copy)), [moved], tmp_path / "out").rows == 0
    (moved / "below" / "0.txt").write_text("the cat sat", encoding="utf-8")
    assert run(job, [moved], tmp_path / "out").rows == 1
    again = run(job, [texts, moved], tmp_path / "out")  # two of each name: known by their paths
    assert again.rows == 20


def test_a_folder_is_of_one_job(model, texts, tmp_path) -> None:
    job = Job(model=str(model), settings=Settings(max_tokens=2))
    run(job, [texts], tmp_path / "out")
    run(replace(job, rows=3), [texts], tmp_path / "out")
    for other, what in (
        (replace(job, loss=True), "loss"),
        (replace(job, settings=Settings(max_tokens=3)), "settings"),
        (replace(job, model="talk"), "model"),
    ):
        with pytest.raises(InputError, match=f"another job, which differs in {what}: choose"):
            run(other, [texts], tmp_path / "out")
    with pytest.raises(InputError, match="holds no rows of a batch"):
        run(job, [texts], texts)
    with pytest.raises(InputError, match="is what pellucid batch wrote"):
        run(job, [tmp_path / "out"], tmp_path / "another")
    part = next((tmp_path / "out").glob("part-*.parquet"))
    part.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"part-.*cannot be read.*remove it"):
        run(job, [texts], tmp_path / "out")


def test_nothing_is_generated_where_none_is_asked_for(model, texts, tmp_path) -> None:
    job = Job(model=str(model), settings=Settings(max_tokens=0), heads=1, loss=True)
    run(job, [texts / "below"], tmp_path / "out")
    for row in rows_of(tmp_path / "out").values():
        assert (row["text"], row["ids"], row["reason"]) == ("", [], "length")
        assert row["heads"]
        assert row["loss"] > 0


def test_a_reply_also_ends_where_its_template_does(tmp_path) -> None:
    """Though a text of this model ends elsewhere: <|end|> is likeliest after everything."""
    gpt = talker(64)
    end = gpt.tokenizer.special_tokens["<|end|>"]
    tensors = {name: np.zeros_like(array) for name, array in gpt.model.tensors().items()}
    tensors["ln_f.bias"] += 1
    tensors["wte.weight"][end] = 1
    path = checkpoint.save(
        tmp_path / "model", gpt.hparams, tensors, gpt.tokenizer, template="roles",
        roles=checkpoint.Roles(eos=(5,)),
    )  # fmt: skip
    file = tmp_path / "rows.jsonl"
    turns = {"turns": [{"role": "user", "text": "the cat"}]}
    rows = [json.dumps(turns), json.dumps({"text": "the cat"})]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    run(
        Job(model=str(path), settings=Settings.of(max_tokens=3, greedy=True)),
        [file],
        tmp_path / "o",
    )
    said, text = rows_of(tmp_path / "o").values()
    assert (said["ids"], said["reason"]) == ([end], "stop token")
    assert (text["ids"], text["reason"]) == ([end] * 3, "length")


def test_one_token_after_nothing_has_no_loss(tmp_path) -> None:
    gpt = pellucid.load("talk")
    (tmp_path / "one.txt").write_text("a", encoding="utf-8")
    assert gpt.tokenizer.end_of_text is None or gpt.roles.bos is None
    job = Job(model="talk", settings=Settings(max_tokens=1), loss=True)
    run(job, [tmp_path / "one.txt"], tmp_path / "out")
    (row,) = rows_of(tmp_path / "out").values()
    assert (row["n_scored"] == 0) == (row["loss"] is None)


def test_bad_documents(model, tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "the cat"}\n{"nothing": 1}\n{"text": "the mat"}\n', encoding="utf-8")
    job = Job(model=str(model), settings=Settings(max_tokens=1))
    with pytest.raises(InputError, match="--skip-bad"):
        run(job, [path], tmp_path / "out")
    done = run(job, [path], tmp_path / "out", reading=Reading(skip_bad=True))
    assert done.rows == 2
    assert "line 2" in done.bad[0]


def test_the_command(model, texts, tmp_path) -> None:
    words = ("batch", texts, tmp_path / "out", "--model", model, "--max-tokens", 5, "--seed", 7)
    more = ("--loss", "--top-heads", 2, "--names", "attn.pattern", "--layer", "0", "--rows", 4)
    assert "Wrote 10 rows" in program(*words, *more)
    assert "Wrote 0 rows" in program(*words, *more)
    row = rows_of(tmp_path / "out")["below/0.txt"]
    assert len(row["heads"]) == 2
    assert [each["name"] for each in row["values"]] == ["blocks.0.attn.pattern"]
    settings = Settings.of(max_tokens=5, seed=7)
    job = Job(model=str(model), settings=settings, loss=True, heads=2, names=("attn.pattern",))
    done = run(replace(job, layers=(0,)), [texts], tmp_path / "out")
    assert (done.rows, done.before) == (0, 10)  # the same job from Python
    assert "another job" in str(invoke(*words).exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": -1}, "heads must be at least 0"),
        ({"rows": 0}, "rows must be at least 1"),
    ],
)
def test_what_a_job_cannot_be(change, message) -> None:
    with pytest.raises(InputError, match=message):
        Job(**change)


def test_what_is_not_installed_is_said(model, texts, tmp_path, monkeypatch) -> None:
    from pellucid.batch import ray

    job = Job(model=str(model))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install .pellucid\[ray,train\]"):
        ray.run(job, [texts], tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pip install .pellucid\[train\]"):
        run(job, [texts / "long.txt"], tmp_path / "out")
