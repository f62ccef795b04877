"""The original Transformer's training: its rate, its loss by hand, and how it goes on."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from pellucid import checkpoint
from pellucid.data.translations import read_translations
from pellucid.errors import InputError
from pellucid.train.config import TranslationConfig, read_config
from support.paper import Theirs
from support.program import invoke, run
from support.skips import needs

torch = needs("torch")

from pellucid.train.batches import IGNORE  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402

COLOURS = ("red", "blue", "green", "black", "white", "pink", "grey", "brown", "gold", "teal")
SHAPE = {"n_vocab": 290, "n_ctx": 24, "n_embd": 16, "n_head": 2, "n_layer": 1}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A colour, and the same without its vowels and with a number."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    rows = [f"the {c} one\t{c[0]}{n}{n + 1}\n" for n in range(4) for c in COLOURS]
    path.write_text("source\ttarget\n" + "".join(rows), encoding="utf-8")
    return path


def config_of(pairs, out, **changed):
    settings = {
        "corpus": str(pairs), "out": str(out), "steps": 6, "batch": 4, "warmup": 2, "eval_every": 3,
        "save_every": 3, "held_out": 0.2, "threads": 1, "precision": "float32", **SHAPE,
    }  # fmt: skip
    return TranslationConfig(**{**settings, **changed})


def test_the_rate_is_the_papers() -> None:
    """lrate = d_model^-0.5 · min(step^-0.5, step · warmup^-1.5), by its own figures (§5.3)."""
    base = TranslationConfig(corpus="x", out="y", n_embd=512, n_head=8, warmup=4000, steps=100_000)
    for step in (1, 2000, 4000, 4001, 100_000):
        expected = 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        assert base.rate(step - 1) == pytest.approx(expected, rel=1e-12)
    assert (
        max(map(base.rate, range(0, 9000))) == base.rate(3999) == pytest.approx(6.99e-4, rel=1e-3)
    )
    assert (base.beta1, base.beta2, base.epsilon) == (0.9, 0.98, 1e-9)
    assert (base.dropout, base.label_smoothing) == (0.1, 0.1)


def test_the_loss_by_hand(pairs, tmp_path) -> None:
    """Of torch.nn's layers in float64, with and without smoothing; padding counts nothing."""
    trainer = trainer_for(config_of(pairs, tmp_path / "run", dropout=0.0))
    trainer.module.double()
    tensors = {name: x.astype(float) for name, x in trainer.module.tensors().items()}
    tensors |= {f"{n}": p.detach().numpy() for n, p in trainer.module.named_parameters()}
    rows = trainer.task.take(0, 4)
    source, lengths, inputs, targets = rows
    logits = Theirs(trainer.hparams, tensors).forward(source, inputs, lengths)["logits"]
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    smoothed = plain = right = 0.0
    for row, position in zip(*np.nonzero(targets != IGNORE), strict=True):
        target, at = targets[row, position], logs[row, position]
        plain -= at[target]
        smoothed -= 0.9 * at[target] + 0.1 * at.mean()
        right += at.argmax() == target
    with torch.no_grad():
        loss, measured = trainer.task.loss(trainer.module, trainer.tensors(rows))
    assert float(loss) == pytest.approx(smoothed, rel=1e-6)
    assert measured == {"accuracy": right}
    held, _ = trainer.measure(lambda model, *part: trainer.task.loss(model, part), rows)
    assert float(held) == pytest.approx(plain, rel=1e-6)
    assert trainer.task.count(rows) == int((targets != IGNORE).sum())


def test_a_row_is_a_source_and_what_is_written_for_it(pairs, tmp_path) -> None:
    task = trainer_for(config_of(pairs, tmp_path / "run")).task
    source, lengths, inputs, targets = task.take(0, 8)
    tokenizer, special = task.begin(None).tokenizer, {"begin": task.start, "end": task.end}
    known = {tuple(pair) for pair in read_translations(pairs).pairs}
    for row in range(8):
        read = source[row, : lengths[row]].tolist()
        learned = targets[row][targets[row] != IGNORE].tolist()
        n = len(learned)
        assert read[-1] == learned[-1] == special["end"]
        assert inputs[row, :n].tolist() == [special["begin"], *learned[:-1]]
        assert (tokenizer.decode(read[:-1]), tokenizer.decode(learned[:-1])) in known
    texts = {side: {tuple(pair[0]) for pair in side_of} for side, side_of in
             (("train", task.train), ("held out", task.validation))}  # fmt: skip
    assert not texts["train"] & texts["held out"]
    assert len(task.validation) == 8  # 2 of 10 colours, 4 times each
    assert all(len(tokenizer.encode(number)) == len(number) for number in ("12", "2024"))


def test_it_goes_on_bitwise_where_it_was_stopped(pairs, tmp_path) -> None:
    whole = trainer_for(config_of(pairs, tmp_path / "whole"))
    for _ in whole:
        pass
    first = trainer_for(config_of(pairs, tmp_path / "parts"))
    for _ in range(4):  # saved after the third
        first.advance()
    second = trainer_for(config_of(pairs, tmp_path / "parts"))
    assert second.step == 3
    for _ in second:
        pass
    one, two = (checkpoint.load(tmp_path / name / "model") for name in ("whole", "parts"))
    for name, value in one.tensors.items():
        np.testing.assert_array_equal(value, two.tensors[name], err_msg=name)
    assert one.card["corpus"]["pairs"] == 32
    assert read_config(tmp_path / "parts" / "config.toml") == second.config
    other = tmp_path / "other.tsv"
    other.write_text("source\ttarget\na\tb\n", encoding="utf-8")
    with pytest.raises(InputError, match="other pairs than the run"):
        trainer_for(config_of(other, tmp_path / "parts"))


def test_it_learns(tmp_path, monkeypatch) -> None:
    """A few pairs by heart, by the command line: then it writes them."""
    monkeypatch.setattr("pellucid.train.describe.draw_losses", lambda run: [run / "loss.png"])
    few = tmp_path / "few.jsonl"
    few.write_text(
        '{"source": "one", "target": "1"}\n{"source": "two", "target": "22"}\n'
        '{"source": "three", "target": "333"}\n',
        encoding="utf-8",
    )
    told = run(
        "train", "--pairs", few, "--out", tmp_path / "run", "--steps", "120", "--batch", "3",
        "--n-embd", "16", "--n-head", "2", "--n-layer", "1", "--n-ctx", "16", "--warmup", "20",
        "--dropout", "0", "--held-out", "0", "--threads", "1", "--sample-every", "60",
        "--eval-every", "0", "--save-every", "0", "--n-vocab", "258",
    )  # fmt: skip
    assert "generate one --model" in told
    model = tmp_path / "run" / "model"
    lines = run("generate", "-", "--model", model, text="one\ntwo\nthree\n")
    assert lines.split() == ["1", "22", "333"]
    assert pellucid.load_translator(model).hparams.family == "transformer"
    again = run("train", "--resume", tmp_path / "run", "--steps", "121")
    assert "held-out" not in again


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing must be"),
        ({"start": "talk"}, "start is not for"),
        ({"snapshots": 4}, "snapshots is not for"),
        ({"parallel": "fsdp"}, "trains with ddp"),
        ({"n_embd": 15}, "multiple of n_head"),
        ({"n_ctx": 3}, "none of 40 pairs is left"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(pairs, tmp_path, changed, told) -> None:
    with pytest.raises(InputError, match=told):
        trainer_for(config_of(pairs, tmp_path / "run", **changed))


def test_bad_rows_are_named_or_counted(tmp_path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text("one\t1\ntwo\t2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r'line 2 has no "source" \(it has: one, 1\)'):
        read_translations(bad)
    bad.write_text("source\ttarget\none\t1\ntwo\t \n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 3: the source or the target is empty.*--skip-bad"):
        read_translations(bad)
    assert read_translations(bad, skip_bad=True) == ([("one", "1")], 1)


def test_wrong_flags(tmp_path) -> None:
    for words, told in (
        (("--held-out", "0.1", "x", "--out", "y"), "--held-out goes with --pairs"),
        (("--pairs", "x"), "give --out RUN"),
        (("--pairs", "x", "texts", "--out", "y"), "goes without TEXTS"),
        (("--pairs", "x", "--out", "y", "--page"), "goes without --page"),
    ):
        done = invoke("train", *words)
        assert done.exit_code == 2
        assert told in done.output
