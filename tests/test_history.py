"""A training's moments: kept while it runs, shipped with `talk`, and looked at afterwards."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

import pellucid
from pellucid import checkpoint, embedded, history, inspect
from pellucid.errors import CheckpointError, InputError
from pellucid.history.packed import unpack
from pellucid.sampling import log_softmax
from pellucid.train import snapshots
from pellucid.train.config import TalkConfig
from pellucid.train.log import Tail, append, read_log
from pellucid.train.run import trainer_for
from support.program import invoke, run
from support.skips import needs

PACKED = embedded.FOLDER / "talk" / "snapshots"
TEXT = "The power clapper went straight to"


def talk_run(folder, *, steps=None, stop=None, count=29):
    """A run of the talk's recipe, or its first `stop` steps."""
    shape = {} if steps is None else {"steps": steps}
    trainer = trainer_for(TalkConfig(out=str(folder), snapshots=count, **shape))
    for report in trainer:
        if report.step == stop:
            break
    return trainer


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A whole run of 40 steps with 9 moments."""
    needs("torch")
    folder = tmp_path_factory.mktemp("runs") / "short"
    talk_run(folder, steps=40, count=9)
    return folder


# Which moments, and that they are what the run had


@pytest.mark.parametrize("steps", [1, 2, 7, 40, 1500, 10**6])
@pytest.mark.parametrize("count", [2, 3, 29, 500])
def test_moments_begin_and_end_with_the_run_and_stand_ever_wider(steps, count) -> None:
    chosen = snapshots.moments(steps, count)
    assert chosen[0] == 0
    assert chosen[-1] == steps
    assert len(chosen) <= count
    assert list(chosen) == sorted(set(chosen))
    apart = np.diff(chosen[:-1])
    assert (apart[1:] >= apart[:-1] - 1).all()
    assert snapshots.moments(steps, 0) == ()


def test_snapshots_are_the_run_s_own_weights_bit_for_bit(short, tmp_path) -> None:
    """Each is what a run holds that is at that step, however often it is taken."""
    moments = snapshots.kept(short)
    assert tuple(moments) == snapshots.moments(40, 9)
    again = trainer_for(TalkConfig(out=str(tmp_path), steps=40))
    for step, path in moments.items():
        while again.step < step:
            again.advance()
        kept = checkpoint.load(path).tensors
        assert {name: x.tobytes() for name, x in kept.items()} == {
            name: x.tobytes() for name, x in again.module.tensors().items()
        }
    assert not (tmp_path / snapshots.FOLDER).exists()
    assert pellucid.load(moments[40]).generate("The power", max_tokens=1).tokens


def test_a_run_that_goes_back_leaves_what_it_takes_again(tmp_path) -> None:
    needs("torch")
    config = TalkConfig(out=str(tmp_path), steps=20, snapshots=8, save_every=5)
    first = trainer_for(config)
    for report in first:
        if report.step == 8:
            break
    assert max(snapshots.kept(tmp_path)) > 5
    again = trainer_for(config)
    assert again.step == 5
    assert max(snapshots.kept(tmp_path)) <= 5
    list(again)
    assert tuple(snapshots.kept(tmp_path)) == snapshots.moments(20, 8)
    with pytest.raises(InputError, match="snapshots must be 0 or at least 2"):
        TalkConfig(out="x", snapshots=1)


# Those that are shipped


def test_the_shipped_moments_are_small_and_end_where_the_recipe_does(talk) -> None:
    assert sum(path.stat().st_size for path in PACKED.iterdir()) <= 1_000_000
    training = history.open_course("talk")
    assert training.moments == snapshots.moments(1500, 29)
    gpt = training.gpt(1500)
    assert gpt.generate("The power clapper", greedy=True).text == " went straight to jail"
    # By the same recipe on another machine: as good, and it is said that the numbers are others.
    same = np.array_equal(gpt.model.tensors()["wte.weight"], talk.model.tensors()["wte.weight"])
    assert same == (training.note == "")
    assert training.curve.losses[1500] == pytest.approx(talk.card["loss"], abs=1e-3)


def test_the_shipped_moments_are_what_the_recipe_makes(tmp_path) -> None:
    """The first of them: they take a moment, and a change to the recipe would show in each."""
    needs("torch")
    trainer = talk_run(tmp_path, stop=16)
    training = history.open_course("talk")
    made = snapshots.kept(tmp_path)
    assert len(made) > 8
    for step, path in made.items():
        shipped = training.weights[step]().tensors
        for name, x in checkpoint.load(path).tensors.items():
            # What is added to every key moves no score beside another: its gradient is what
            # rounding leaves of 0, and AdamW makes whole steps of it.
            told = np.ones(len(x), bool)
            if name.endswith("c_attn.bias"):
                told[len(x) // 3 : 2 * len(x) // 3] = False
            # Another processor adds in another order; by step 16 that is this much at most.
            np.testing.assert_allclose(
                x[told], shipped[name][told], atol=2e-4, err_msg=f"{step} {name}"
            )
    losses = [training.curve.losses[line["step"] - 1] for line in read_log(tmp_path)]
    assert list(trainer.progress.losses) == pytest.approx(losses, abs=1e-3)


@pytest.mark.parametrize("name", ["weights.safetensors", "snapshots.json"])
def test_a_shipped_file_that_was_changed_is_not_believed(name, tmp_path) -> None:
    model = checkpoint.load("talk")
    folder = tmp_path / "snapshots"
    shutil.copytree(PACKED, folder)
    data = bytearray((folder / name).read_bytes())
    at = -9 if name.startswith("w") else data.index(b"0.42") + 3
    data[at] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or exchanged"):
        unpack(folder, model)


# What is found in them


def mean_loss(gpt) -> float:
    """Of all the sentences that `talk` learns, by its definition, with no training code."""
    total, n = 0.0, 0
    (end,) = gpt.stop_tokens
    for sentence in gpt.card["sentences"]:
        ids = [*gpt.tokenizer.encode(sentence), end]
        logprobs = log_softmax(gpt.logits(ids[: gpt.hparams.n_ctx]).astype(np.float64))
        for at, following in enumerate(ids[1 : gpt.hparams.n_ctx + 1]):
            total, n = total - logprobs[at, following], n + 1
    return total / n


@pytest.mark.parametrize("step", [0, 12, 1500])
def test_each_number_is_that_of_the_moment_s_own_model(step) -> None:
    training = history.open_course("talk")
    found = history.learned("talk")
    at = found.steps.index(training.moments[np.searchsorted(training.moments, step)])
    gpt = training.gpt(found.steps[at])
    assert found.losses[found.steps[at]] == pytest.approx(mean_loss(gpt), abs=1e-5)
    seen = inspect.trace(gpt, TEXT)
    for layer in range(2):
        np.testing.assert_array_equal(
            found.pattern[at, layer], seen[f"blocks.{layer}.attn.pattern"]
        )
    logprobs = log_softmax(gpt.logits(TEXT).astype(np.float64))
    shares = np.exp(logprobs[-1][list(found.next_ids)])
    np.testing.assert_allclose(found.next_shares[at], shares, rtol=1e-4)
    assert found.next_ids[found.first[at]] == logprobs[-1].argmax()
    own = [-logprobs[i, token] for i, token in enumerate(found.ids[1:])]
    assert found.text_losses[at] == pytest.approx(np.mean(own))


def test_points_are_a_projection_that_stands_still() -> None:
    """Distances within the plane are never longer than those of the embeddings, at the end no
    plane keeps more of them, and the moments share one."""
    found, training = history.learned("talk"), history.open_course("talk")
    rows = [training.gpt(step).model.unembedding(list(found.words)) for step in found.steps]
    for points, table in zip(found.points, rows, strict=True):
        between = np.linalg.norm(points[:, None] - points[None], axis=-1)
        assert (between <= np.linalg.norm(table[:, None] - table[None], axis=-1) + 1e-5).all()
    centred = (rows[-1] - rows[-1].mean(0)).astype(np.float64)
    strength = np.linalg.eigvalsh(np.cov(centred.T))[::-1]
    np.testing.assert_allclose(found.plane_shares, strength[:2] / strength.sum(), rtol=1e-6)
    np.testing.assert_allclose(found.points[-1].var(0, ddof=1), strength[:2], rtol=1e-6)
    # One linear map for all moments: what it does to the last, it does to the first.
    mapped, *_ = np.linalg.lstsq(centred, found.points[-1], rcond=None)
    np.testing.assert_allclose((rows[0] - rows[-1].mean(0)) @ mapped, found.points[0], atol=1e-5)


def test_the_terminal_and_json_say_it() -> None:
    shown = run("learned", width=100)
    assert "What it would have said" in shown
    assert "“␣jail”" in shown
    known = json.loads(run("learned", "talk", "The king went home to", "--head", "1", "--json"))
    assert (known["kind"], known["head"], known["steps"][:3]) == ("Learned", 1, [0, 1, 2])
    assert known["names"][str(known["next_ids"][known["first"][-1]])] == " jail"


def test_of_a_run_the_snapshots_checkpoints_and_model_are_its_moments(short) -> None:
    found = history.learned(short)
    assert found.steps == snapshots.moments(40, 9)
    assert found.done
    losses = {line["step"] - 1: line["loss"] for line in read_log(short)}
    assert found.losses == losses
    assert history.open_course(short / "model").moments == found.steps
    assert "step" in run("learned", short, width=100)
    assert math.isnan(history.learned(short, "The").text_losses[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chat",), "comes without the moments"),
        (("nowhere",), "is no training run"),
        (("talk", "The", "--head", "9"), "there is no head 9"),
        (("talk", "The power " * 9), "exceed the context window"),
        (("talk", "xyz", "--page", "70000"), "70000"),
    ],
)
def test_mistakes_are_named(arguments, said) -> None:
    failed = invoke("learned", *arguments)
    assert failed.exit_code
    assert said in f"{failed.exception} {failed.output}"


def test_a_log_is_read_on_where_it_was_left(tmp_path, short) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"")
    tail, lines = Tail(tmp_path), (short / "log.jsonl").read_bytes().splitlines(keepends=True)
    with open(tmp_path / "log.jsonl", "ab", buffering=0) as log:
        log.write(lines[0] + lines[1][:20])
        assert [report.step for report in tail.news()] == [1]
        assert tail.news() == []
        log.write(lines[1][20:])
        (second,) = tail.news()
    assert second.step == 2
    append(tmp_path, second)
    assert len(tail.news()) == 1
    (tmp_path / "log.jsonl").write_bytes(lines[0])
    assert [report.step for report in tail.news()] == [1]
