"""The benchmark's own work: who takes part, what a run makes of it, what its page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pellucid import checkpoint
from pellucid.bench import Contender, Results, find, markdown, measure, write
from pellucid.bench.passages import passages
from pellucid.bench.report import BEGIN, END, claims
from pellucid.errors import InputError
from pellucid.families.llama import LlamaHParams
from pellucid.weights import initialise
from support.program import invoke
from support.skips import needs

OURS = Contender(
    name="Pellucid numpy float32, chat", engine="pellucid", kind="numpy float32",
    python=Path(sys.executable), model="talk", weights=1e6, small=True,
)  # fmt: skip
ABSENT = Contender(
    name="llama.cpp Q8_0",
    engine="llama.cpp",
    kind="q8_0",
    python=Path("/no/such/python"),
    model="x",
)
FAILING = Contender(
    name="CTranslate2 int8", engine="CTranslate2", kind="int8", python=Path(sys.executable),
    model="/no/such/model",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One round of a tiny model in processes of its own, beside two that cannot run."""
    work = tmp_path_factory.mktemp("work")
    text = work / "text.txt"
    text.write_text("The power clapper went straight to jail. " * 3)
    seen = []
    found = measure(
        [ABSENT, OURS, FAILING], model="talk", rounds=2, threads=1, work=work, text=text,
        on_progress=lambda number, name: seen.append((number, name)),
    )  # fmt: skip
    names = [ABSENT.name, OURS.name, FAILING.name]
    assert seen == [*((0, name) for name in names), (1, OURS.name)]  # who failed is left out
    return found


def test_passages(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"Text {i}."}) + "\n" for i in range(20)))
    assert passages(rows, 4) == ["Text 0.", "Text 5.", "Text 10.", "Text 15."]
    book = tmp_path / "book.txt"
    book.write_text("".join(f"Line {i:04}\n" for i in range(1000)))
    assert [each[:9] for each in passages(book, 2)] == ["Line 0000", "Line 0501"]
    book.write_text("abcdefgh")  # one line has no other to begin with
    assert passages(book, 2) == ["abcdefgh", "efgh"]
    (empty := tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        passages(empty)


def test_a_round(results):
    figures = results.figures[OURS.name]
    assert set(results.figures) == {OURS.name}
    assert {"cold_s", "cold_mib", "loaded_mib", "peak_mib"} <= set(figures)
    assert all(len(values) == 2 and min(values) > 0 for values in figures.values())
    assert len(results.memory) == 2
    assert results.speed > 0
    assert [line.split(":")[0] for line in results.missing] == [ABSENT.name, FAILING.name]


def made(**figures):
    """Results with these figures of one round: name -> figure -> number."""
    table = {name: {f: [value] for f, value in each.items()} for name, each in figures.items()}
    return Results(
        model="m", threads=2, processor="P", rounds=1, memory=[10.0], memory_by="read",
        figures=table, weights={"Pellucid native int8": 124e6},
    )  # fmt: skip


FIGURES = {
    "Pellucid native int8": {"decode_32": 20.0, "streams_8": 300.0, "cold_s": 0.2},
    "Pellucid native float32": {"decode_32": 40.0, "recorded_ms": 50.0},
    "Pellucid native int8, chat": {"decode_32": 1.0, "speculation": 1.8},
    "llama.cpp Q8_0": {"decode_32": 30.0, "streams_8": 100.0, "cold_s": 0.5},
    "llama.cpp Q8_0, chat": {"decode_32": 0.8},
    "llama.cpp F32": {"decode_32": 60.0},
    "CTranslate2 int8": {"decode_32": 35.0, "streams_8": 200.0, "cold_s": 0.4},
}


def test_ratios():
    found = {row["point"]: row for row in claims(made(**FIGURES))}
    wanted = {
        "decode int8, context 32": ("llama.cpp Q8_0", 1.5),
        "decode float32, context 32": ("llama.cpp F32", 1.5),
        "8 streams": ("CTranslate2 int8", 1.5),
        "cold start": ("CTranslate2 int8", 2.0),
        "every value recorded, beside plain decode": ("Pellucid native float32", 0.8),
        "every value recorded, beside llama.cpp plain": ("llama.cpp F32", 1.2),
        "the embedded model chat": ("llama.cpp Q8_0, chat", 0.8),
        "speculation on text, chat": ("plain", 1.8),
    }
    assert {point: (found[point]["peer"], found[point]["ratio"]) for point in wanted} == {
        point: (peer, pytest.approx(ratio)) for point, (peer, ratio) in wanted.items()
    }
    assert {row["ratio"] for point, row in found.items() if point not in wanted} == {None}


def test_the_page():
    page = markdown(made(**FIGURES))
    assert (
        "| decode int8, context 32 | Pellucid native int8: 20 | llama.cpp Q8_0: 30 | 1.50 |" in page
    )
    assert "none here: – | – | 1.40 |" in page
    assert "| Pellucid native int8 | 6.2 | 62% |" in page  # 124 MB in 20 ms, of 10 GB/s
    assert "| llama.cpp F32 | 60 |" in page
    run = made(**FIGURES)
    run.tokens = {
        "Pellucid numpy float32": {"tokens_32": [1, 2, 3, 4]},
        "llama.cpp F32": {"tokens_32": [1, 2, 9, 4]},
        "CTranslate2 int8": {"tokens_32": [1, 2, 3, 4]},
    }
    assert "of 4, as Pellucid numpy float32 has them: llama.cpp F32 2, CTranslate2 int8 4." in (
        markdown(run)
    )


def test_written_between_its_marks(tmp_path, results):
    paths = write(results, tmp_path)
    assert [path.name for path in paths[:2]] == ["speed.json", "speed.md"]
    assert json.loads(paths[0].read_text())["figures"] == results.figures
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{BEGIN}\nformer\n{END}\nafter\n")
    write(made(**FIGURES), tmp_path)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "former" not in text
    page.write_text("another page\n")
    with pytest.raises(InputError, match="lacks the lines"):
        write(results, tmp_path)
    assert page.read_text() == "another page\n"


def test_the_picture(tmp_path):
    needs("matplotlib")
    assert (tmp_path / "speed.png") in write(made(**FIGURES), tmp_path)
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert "](speed.png)" in (tmp_path / "speed.md").read_text("utf-8")


def test_the_pages_marks_are_there():
    page = (Path(__file__).parents[1] / "docs/speed.md").read_text("utf-8")
    assert page.index(BEGIN) < page.index(END)


def test_who_takes_part(tmp_path):
    work, peers = tmp_path / "work", tmp_path / "peers"
    work.mkdir()
    with pytest.raises(InputError, match=r"benchmarks/peers\.py"):
        find("talk", peers, work)
    for folder in ("models/ct2-int8", "torch/bin"):
        (peers / folder).mkdir(parents=True)
    (peers / "torch/bin/python").touch()
    found, missing = find("talk", peers, work)
    names = [each.name for each in found]
    assert names[:2] == ["Pellucid numpy float32", "Pellucid numpy float32, chat"]
    assert names[-1] == "CTranslate2 int8"
    lines = "\n".join(missing)
    for who in ("llama.cpp: there is no", "OpenVINO: there is no", "CTranslate2 float32: there is"):
        assert who in lines
    linear, head = 12 * 12 * 320**2, 8192 * 320
    assert next(each for each in found if each.small).weights == 4 * (linear + head)


def test_what_a_token_reads_is_the_familys(tmp_path):
    """Llama's maps are of other shapes than GPT-2's."""
    h = LlamaHParams(
        n_vocab=90, n_ctx=64, n_embd=48, n_head=4, n_kv_head=2, d_head=16, n_inner=80, n_layer=2
    )
    folder = checkpoint.save(tmp_path / "llama", h, initialise(h, 1))
    found, _ = find(str(folder), None, tmp_path)
    maps = h.n_embd * h.n_qkv + h.n_head * h.d_k * h.n_embd + 3 * h.n_embd * h.n_inner
    expected = 4 * (h.n_layer * maps + h.n_vocab * h.n_embd)
    assert found[0].weights == expected


def test_kernels_can_be_forced(tmp_path):
    needs("pellucid_native")
    found, _ = find("talk", None, tmp_path, "portable")
    forced = [each for each in found if each.kind == "native int8 portable"]
    assert [each.name for each in forced] == ["Pellucid native int8", "Pellucid native int8, chat"]
    run = measure(forced[:1], model="talk", rounds=1, threads=1, work=tmp_path, kernels="portable")
    assert run.missing == []
    assert run.middle("Pellucid native int8", "cold_s")
    assert run.processor.endswith("with the kernels for portable")
    with pytest.raises(InputError, match=r"no kernels 'Z80' here, but .*portable"):
        find("talk", None, tmp_path, "Z80")


def test_a_mistake_on_the_command_line():
    done = invoke("bench", "--only", "nobody", "--model", "talk")
    assert (done.exit_code, "nobody's name begins with" in done.output) == (2, True)
