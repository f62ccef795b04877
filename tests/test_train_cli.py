"""`pellucid train` as a person uses it: one command, going on, stopping, and what is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

import pellucid
from pellucid import checkpoint
from pellucid.cli.train import command
from pellucid.data.corpus import open_corpus
from pellucid.errors import InputError, PellucidError, TrainingError
from pellucid.hparams import HParams
from pellucid.train.config import TrainConfig, help_of, read_config
from pellucid.train.log import read_log
from pellucid.train.run import trainer_for
from pellucid.weights import initialise
from support import small_corpus
from support.program import PROGRAM, captured, ended, invoke, terminal
from support.skips import needs

torch = needs("torch")

TINY = (
    "--n-embd", "16", "--n-layer", "1", "--n-head", "2", "--n-ctx", "16", "--batch", "4",
    "--warmup", "2", "--threads", "1", "--eval-rows", "4", "--precision", "float32",
)  # fmt: skip

TALK = (5.8597, 3.1245, 1.8416)  # losses of the talk's steps 1, 10 and 20


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_picture(request):
    """One test draws it."""
    if request.node.name != "test_texts_to_a_model_in_one_command":
        request.getfixturevalue("no_pictures")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus.write(tmp_path_factory.mktemp("corpus") / "tokens")


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(30):
        words = f"The cat number {number} sat on the mat and saw {number * 7} big red hats. "
        (folder / f"{number}.txt").write_text(words * 8)
    return folder


def train(*arguments, fails=False):
    result = invoke("train", *arguments)
    if not fails and result.exception is not None:
        raise result.exception
    return result


def process(*arguments, **settings):
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **settings,
    )


def signalled(child, number):
    """Send a signal after its first step -> what it then says, once it has ended."""
    seen = ""
    while "step " not in seen:
        seen = child.stderr.readline()
        assert seen, child.wait()
    child.send_signal(number)
    return child.communicate(timeout=240)[1]


def test_every_field_is_a_flag_with_help():
    names = {field.name for field in fields(TrainConfig)} - {"corpus", "out"}
    assert all(help_of(TrainConfig, name) for name in names)
    flags = {parameter.name: parameter for parameter in command.params}
    assert names <= set(flags)
    printed = invoke("train", "--help").stdout
    assert "--learning-rate FLOAT" in printed
    assert "[default: 0.001; with --pairs: 1.0]" in " ".join(printed.split())
    assert "--compile / --no-compile" in printed


def test_texts_to_a_model_in_one_command(texts, tmp_path):
    run = tmp_path / "run"
    asked = (texts, "--out", run, *TINY, "--steps", 6, "--eval-every", 3, "--n-vocab", 300)
    done = train(*asked, "--sample-every", 4, "--sample-prompt", "The cat")
    assert "tokens to learn from" in done.stderr
    assert "step 4 writes: The cat" in done.stderr
    assert "step 6 writes: The cat" in done.stderr
    assert f"pellucid chat --model {run / 'model'}" in done.stdout
    assert f"pellucid eval FILE --model {run / 'model'}" in done.stdout
    assert "held-out loss" in done.stdout
    assert "384" in done.stdout  # 6 steps of 4 rows of 16 tokens
    gpt = pellucid.load(run / "model")
    assert gpt.generate("The cat", max_tokens=3).steps
    assert gpt.hparams.n_vocab == 300
    assert len(read_log(run)) == 6
    again = train(*asked, "--sample-every", 4)
    assert "All 6 steps were done before" in again.stderr
    assert len(read_log(run)) == 6
    if "loss.png" in done.stdout:
        drawn = invoke("plot", run)
        assert drawn.exit_code == 0
        assert (run / "loss.svg").is_file()


def test_changed_texts_do_not_take_over_a_run(texts, tmp_path):
    run = tmp_path / "run"
    asked = (texts, "--out", run, *TINY, "--steps", 2, "--n-vocab", 300)
    train(*asked)
    (texts / "more.txt").write_text("Another text.")
    refused = train(*asked, fails=True)
    assert isinstance(refused.exception, InputError)
    assert "other texts" in str(refused.exception)


def test_a_corpus_is_not_taken_for_one_made_otherwise(texts, corpus, tmp_path):
    """It was, and what was asked for now was passed over."""
    talks = tmp_path / "talks.jsonl"
    turns = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c d"}]
    talks.write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(40)))
    runs = {"of texts": texts, "of talks": talks}
    asked = ("--n-vocab", 300, "--seed", 1, *TINY, "--steps", 1)
    for name, source in runs.items():
        train(source, "--out", tmp_path / name, *asked)
        shutil.rmtree(tmp_path / name / "checkpoints")
        train(source, "--out", tmp_path / name, *TINY, "--steps", 1, "--seed", 1)  # nothing said

    def refused(source, run, *more) -> str:
        found = train(source, "--out", tmp_path / run, *TINY, "--steps", 1, *more, fails=True)
        assert isinstance(found.exception, InputError)
        return str(found.exception)

    own = tmp_path / "of texts" / "corpus"
    said = refused(texts, "of texts", "--n-vocab", 400, "--seed", 1)
    assert said.startswith(f"{own} was made with --n-vocab 300, and 400 is asked for: ")
    assert said.endswith(f"choose another --out, or remove {own} to have it made anew")
    assert "--seed 1, and 0" in refused(texts, "of texts", "--n-vocab", 300)
    said = refused(talks, "of talks", "--seed", 1, "--template", "plain")
    assert "--template roles, and plain" in said
    # A corpus of its own is told how to be made; its seed is none of the run's.
    made = open_corpus(corpus).card["n_vocab"]
    said = refused(corpus, "third", "--n-vocab", made + 1)
    assert said.endswith(f"make another: pellucid data TEXTS OUT --n-vocab {made + 1}")
    train(corpus, "--out", tmp_path / "third", *TINY, "--steps", 1, "--seed", 9)
    said = refused(corpus, "fourth", "--n-vocab", made + 1, "--dry-run")
    assert "was made with --n-vocab" in said
    # A model that is started from has its own vocabulary, and its own shape.
    model = tmp_path / "third" / "model"
    more = ("--steps", 1, "--out", tmp_path / "fifth", "--start", model)
    found = invoke("train", texts, *more, "--n-vocab", 300)
    assert f"n_vocab is for a vocabulary to learn; {model} has its own" in str(found.exception)
    found = invoke("train", corpus, *more, "--n-ctx", 8)
    assert found.exit_code == 2
    assert "--n-ctx is for fresh weights" in found.output
    for task in ("talk", "--resume"):
        found = invoke("train", task, *([tmp_path / "none"] * (task != "talk")), "--n-vocab", 300)
        assert found.exit_code == 2


def test_an_adapters_settings_need_an_adapter():
    with pytest.raises(InputError, match="lora_alpha needs lora_rank"):
        TrainConfig(corpus="a", out="b", start="c", lora_alpha=8.0)


def test_flags_win_over_the_file_and_the_file_over_defaults(corpus, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("n_embd = 24\nn_head = 4\nsteps = 9\nlearning_rate = 0.5\ncompile = true\n")
    asked = (corpus, "--out", tmp_path / "run", "--config", file, "--steps", 7, "--no-compile")
    printed = train(*asked, "--dry-run").stdout
    for line in ("steps = 7", "n_embd = 24", "learning_rate = 0.5", "compile = false"):
        assert line in printed.splitlines(), line
    assert "n_layer = 6" in printed.splitlines()
    assert not (tmp_path / "run").exists()


def test_dry_run_shows_no_shape_that_is_not_the_models(corpus, tmp_path):
    train(corpus, "--out", tmp_path / "first", *TINY, "--steps", 1)
    model = tmp_path / "first" / "model"
    printed = train(corpus, "--out", tmp_path / "b", "--start", model, "--dry-run").stdout
    for name in ("n_ctx", "n_embd", "n_head", "n_layer"):
        assert f"# {name} is that of start\n" in printed
        assert f"\n{name} = " not in printed


def test_dry_run_wants_what_the_run_will_want(tmp_path):
    with pytest.raises(InputError, match="none does not exist"):
        train(tmp_path / "none", "--out", tmp_path / "run", "--dry-run")


def test_dry_run_counts(corpus, tmp_path):
    asked = (corpus, "--out", tmp_path / "run", *TINY, "--steps", 10)
    printed = " ".join(train(*asked, "--dry-run").stdout.split())
    opened = open_corpus(corpus)
    hparams = HParams(opened.card["n_vocab"], n_ctx=16, n_embd=16, n_head=2, n_layer=1)
    assert f"parameters {hparams.n_params:,}, with a vocabulary of {hparams.n_vocab}" in printed
    assert "tokens per step 64 tokens in all 640" in printed
    assert f"epochs {640 / opened.train.n_tokens:.2f}" in printed
    assert "GiB" in printed


def test_a_run_goes_on_from_its_folder(corpus, tmp_path):
    straight, halved = tmp_path / "straight", tmp_path / "halved"
    asked = (corpus, *TINY, "--steps", 6, "--save-every", 3)
    train(*asked, "--out", straight)
    train(*asked, "--out", halved)
    for folder in ("checkpoints/00000006", "model"):
        for path in sorted((halved / folder).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    (halved / "checkpoints/00000006/progress.json").write_text("{")  # damaged
    moved = halved.rename(tmp_path / "moved")
    gone_on = train("--resume", moved)
    assert "Damaged, and passed over" in gone_on.stderr
    assert "00000006" in gone_on.stderr
    assert "Goes on after step 3" in gone_on.stderr
    losses = [[step["loss"] for step in read_log(run)] for run in (straight, moved)]
    assert losses[0] == losses[1]
    weights = [(run / "model/model.safetensors").read_bytes() for run in (straight, moved)]
    assert weights[0] == weights[1]


def test_more_steps_for_a_finished_run_by_the_command_that_is_said(corpus, tmp_path):
    run = tmp_path / "run"
    asked = (corpus, "--out", run, *TINY, "--steps", 3)
    train(*asked)
    again = train(*asked)
    assert "All 3 steps were done before" in again.stderr
    command = f"pellucid train --resume {run} --steps 6"
    assert f"For more: {command}" in again.stderr
    more = train(*command.split()[2:])
    assert "Goes on after step 3" in more.stderr
    assert "Note: the run had 3 steps and now has 6" in more.stderr
    assert [step["step"] for step in read_log(run)] == [1, 2, 3, 4, 5, 6]
    assert pellucid.load(run / "model").card["step"] == 6
    fewer = train("--resume", run, "--steps", 2, fails=True)
    assert "another steps" in str(fewer.exception)


def test_a_finished_run_of_pairs_is_gone_on_with_and_drawn(pairs, tmp_path):
    run = tmp_path / "run"
    asked = ("prefer", pairs / "pairs.jsonl", "--start", pairs / "base", "--batch", 2, "--threads",
             1, "--out", run, "--precision", "float32")  # fmt: skip
    assert invoke(*asked, "--steps", 2).exit_code == 0
    more = train("--resume", run, "--steps", 4)
    assert "Goes on after step 2" in more.stderr
    assert "nats/pair" in more.stdout
    assert "perplexity" not in more.stdout
    assert len(read_log(run)) == 4
    assert invoke("plot", run).exit_code == 0
    drawn = (run / "loss.svg").read_text(encoding="utf-8")
    assert "nats/pair" in drawn
    assert "perplexity" not in drawn


def test_samples_do_not_change_what_is_learned(corpus, tmp_path):
    for name, every in (("with", 1), ("without", 0)):
        asked = (corpus, "--out", tmp_path / name, *TINY, "--steps", 4, "--dropout", 0.1)
        train(*asked, "--sample-every", every, "--sample-prompt", "the cat")
    with_samples, without = (read_log(tmp_path / name) for name in ("with", "without"))
    assert [s["loss"] for s in with_samples] == [s["loss"] for s in without]


def test_a_prompt_that_does_not_fit_ends_no_run(corpus, tmp_path):
    asked = (corpus, "--out", tmp_path / "run", *TINY, "--steps", 2, "--sample-every", 2)
    done = train(*asked, "--sample-prompt", "the cat sat on a mat " * 9)
    assert "no sample" in done.stderr
    assert (tmp_path / "run" / "model").is_dir()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(corpus, tmp_path, number, code):
    run = tmp_path / "run"
    child = process(
        "train", corpus, "--out", run, *TINY, "--steps", 100_000, "--save-every", 0,
        "--eval-every", 0,
    )  # fmt: skip
    errors = signalled(child, number)
    assert child.returncode == code, errors
    assert "Stopping after this step" in errors
    assert f"Go on: pellucid train --resume {run}" in errors
    (saved,) = (run / "checkpoints").iterdir()
    assert len(read_log(run)) == int(saved.name)
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, corpus):
    """A model, and pairs of replies for it."""
    folder = tmp_path_factory.mktemp("pairs")
    tokenizer = open_corpus(corpus).tokenizer()
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=48, n_embd=16, n_head=2, n_layer=1)
    checkpoint.save(folder / "base", hparams, initialise(hparams, 1), tokenizer, template="roles")
    rows = [{"prompt": f"{n} cats?", "chosen": "a cat", "rejected": "no"} for n in range(9)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.parametrize(("task", "number"), [("prefer", signal.SIGTERM), ("talk", signal.SIGINT)])
def test_every_task_stops_and_goes_on(pairs, tmp_path, task, number):
    run = tmp_path / "run"
    asked = {
        "prefer": (
            "prefer", pairs / "pairs.jsonl", "--start", pairs / "base", "--batch", "2",
            "--threads", "1", "--save-every", "0", "--eval-every", "0", "--precision", "float32",
            "--dropout", "0.1",
        ),
        "talk": ("train", "talk", "--sample-every", "0"),
    }[task]  # fmt: skip
    child = process(*asked, "--out", run, "--steps", "100000")
    errors = signalled(child, number)
    assert child.returncode == 128 + number, errors
    assert f"Go on: pellucid train --resume {run}" in errors
    (saved,) = (run / "checkpoints").iterdir()
    done = len(read_log(run))
    assert done == int(saved.name) > 0
    # It goes on bitwise: some steps more equal those of a run that is not stopped.
    config = read_config(run / "config.toml")
    for folder, steps in ((run, 3), (tmp_path / "straight", done + 3)):
        trainer = trainer_for(replace(config, out=str(folder)))
        for _ in range(steps):
            trainer.advance()
    losses = [
        [step["loss"] for step in read_log(folder)] for folder in (run, tmp_path / "straight")
    ]
    assert losses[0] == losses[1]
    # And by the command that was printed; with other steps its rates are others.
    (run / "config.toml").write_text(replace(config, steps=done + 3).to_toml())
    gone_on = train("--resume", run)
    assert f"Goes on after step {done}" in gone_on.stderr
    assert (run / "model").is_dir()
    assert [step["loss"] for step in read_log(run)][: done + 1] == losses[1][: done + 1]


def test_the_talk_learns_anew_where_it_has_learned(tmp_path):
    asked = ("talk", "--out", tmp_path / "talk", "--sample-every", 0)
    for steps in (20, 20, 30):
        assert "were done before" not in train(*asked, "--steps", steps).stderr
        assert pellucid.load(tmp_path / "talk" / "model").card["steps"] == steps
        assert len(read_log(tmp_path / "talk")) == steps
    assert "All 30 steps were done before" in train("--resume", tmp_path / "talk").stderr
    assert len(read_log(tmp_path / "talk")) == 30


def test_a_run_of_another_task_is_not_gone_on_with(pairs, corpus, tmp_path):
    train("talk", "--out", tmp_path / "run", "--steps", 2)
    failed = train(corpus, "--out", tmp_path / "run", *TINY, fails=True)
    assert "whose task is 'talk', not 'language'" in str(failed.exception)
    train(corpus, "--out", tmp_path / "other", *TINY, "--steps", 2)
    failed = train("talk", "--out", tmp_path / "other", fails=True)
    assert "another task" in str(failed.exception)


@pytest.mark.parametrize("damage", [b"", b'{"step": 1}\n[3]\n{"lo', None])
def test_a_log_that_is_damaged_ends_no_run(corpus, tmp_path, damage):
    run = tmp_path / "run"
    asked = (corpus, "--out", run, *TINY, "--steps", 6, "--save-every", 3)
    train(*asked)
    shutil.rmtree(run / "checkpoints" / "00000006")
    (run / "log.jsonl").unlink()
    if damage is not None:
        (run / "log.jsonl").write_bytes(damage)
    assert "Goes on after step 3" in train("--resume", run).stderr
    assert [step["step"] for step in read_log(run)] == [4, 5, 6]


def test_a_corpus_without_its_card_is_not_taken_for_texts(corpus, tmp_path):
    run = tmp_path / "run"
    own = shutil.copytree(corpus, tmp_path / "own")
    train(own, "--out", run, *TINY, "--steps", 2, "--save-every", 2)
    (own / "card.json").unlink()
    for asked in (("--resume", run, "--steps", 4), (own, "--out", run, *TINY, "--steps", 4)):
        refused = invoke("train", *asked)
        assert f"{own} is no tokenised corpus (it has no card.json)" in str(refused.exception)


def test_ctrl_c_in_a_terminal_and_a_narrow_one(corpus, tmp_path):
    needs("pexpect")
    run = tmp_path / "run"
    child = terminal(
        "train", corpus, "--out", run, *TINY, "--steps", "100000", "--save-every", "0",
        "--eval-every", "50", dimensions=(30, 40), timeout=240, OMP_NUM_THREADS="1",
    )  # fmt: skip
    child.expect("tokens/s")
    child.expect("●")
    child.sendintr()
    child.expect("Stopping after this step")
    child.expect("Go on: pellucid train --resume")
    assert ended(child) == 130
    assert len(list((run / "checkpoints").iterdir())) == 1


def test_what_is_not_finite_is_one_line_that_says_how_to_go_on(corpus, tmp_path, monkeypatch):
    from pellucid.train.trainer import Trainer

    taken = Trainer.gradients

    def gradients(self, *rest):
        return taken(self, *rest) * (float("nan") if self.step == 3 else 1)

    monkeypatch.setattr(Trainer, "gradients", gradients)
    run = tmp_path / "run"
    failed = train(corpus, "--out", run, *TINY, "--steps", 6, "--save-every", 2, fails=True)
    assert isinstance(failed.exception, TrainingError)
    message = str(failed.exception)
    assert "not finite" in message
    assert f"The checkpoint of step 2 is as it was; go on: pellucid train --resume {run}" in message


def test_a_full_disk_is_one_line_and_the_checkpoint_before_is_whole(corpus, tmp_path, monkeypatch):
    run, written = tmp_path / "run", Path.write_bytes
    checkpoints = {}

    def write_bytes(path, content):
        if path.name == "progress.json" and checkpoints:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(path, content)
        if path.name == "progress.json":
            checkpoints.update((file.name, file.read_bytes()) for file in path.parent.glob("*.*"))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    failed = train(corpus, "--out", run, *TINY, "--steps", 3, "--save-every", 1, fails=True)
    message = str(failed.exception)
    assert isinstance(failed.exception, TrainingError)
    assert "No space left on device" in message
    assert f"The checkpoint of step 1 is as it was; go on: pellucid train --resume {run}" in message
    (kept,) = (run / "checkpoints").iterdir()
    assert {name: (kept / name).read_bytes() for name in checkpoints} == checkpoints
    monkeypatch.setattr(Path, "write_bytes", written)
    assert "Goes on after step 1" in train("--resume", run).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give texts, or a corpus"),
        (["{corpus}"], "give --out RUN"),
        (["{tmp}/nothing", "--out", "{tmp}/run"], "nothing"),
        (["{corpus}", "--out", "{tmp}/run", "--batch", "0"], "batch must be at least 1"),
        (
            ["{corpus}", "--out", "{tmp}/run", *TINY, "--n-ctx", "9000"],
            "tokens do not fill one row",
        ),
        (["{corpus}", "--out", "{tmp}/run", "--steps", "x"], "not a valid integer"),
        (["--resume", "{tmp}"], "no training run"),
        (["--resume", "{tmp}", "--out", "{tmp}/run"], "--resume RUN takes"),
        (["{corpus}", "--out", "{tmp}/run", "--config", "{tmp}/no.toml"], "cannot read"),
        (["talk", "--n-embd", "16"], "no --n-embd here"),
        (["talk", "--dry-run"], "takes no --dry-run"),
    ],
)
def test_mistakes_are_named(corpus, tmp_path, arguments, message):
    filled = [each.format(corpus=corpus, tmp=tmp_path) for each in arguments]
    failed = train(*filled, fails=True)
    assert failed.exit_code
    error = failed.exception
    assert isinstance(error, PellucidError | SystemExit)
    assert message in f"{error} {failed.output}"


def test_tensorboard_gets_every_number(corpus, tmp_path):
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, board = tmp_path / "run", tmp_path / "board"
    asked = (corpus, "--out", run, *TINY, "--steps", 4, "--eval-every", 2)
    train(*asked, "--tensorboard", board, "--sample-every", 4, "--sample-prompt", "the cat")
    events = EventAccumulator(str(board))
    events.Reload()
    written = [event.value for event in events.Scalars("loss/training")]
    assert written == pytest.approx([step["loss"] for step in read_log(run)])
    assert [event.step for event in events.Scalars("loss/held out")] == [2, 4]
    assert events.Tags()["tensors"] == ["sample/text_summary"]


@pytest.mark.slow
def test_without_a_compiler_it_is_said_before_the_first_step(corpus, tmp_path):
    """Whether one is installed or not: none is on this PATH, and nothing was compiled before."""
    nothing = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | nothing
    asked = ("train", corpus, "--out", tmp_path / "run", *TINY, "--steps", 1, "--compile")
    done = captured([*PROGRAM, *asked], env=environment)
    assert done.returncode == 2
    assert "install a C++ compiler such as g++, or leave --compile out" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_pytorch_no_corpus_is_made(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("the cat sat on a mat\n" * 40, encoding="utf-8")
    monkeypatch.setattr("pellucid.train.run.find_spec", lambda name: None)
    failed = train(tmp_path / "text.txt", "--out", tmp_path / "run", *TINY, fails=True)
    assert isinstance(failed.exception, InputError)
    assert "pellucid[torch,train]" in str(failed.exception)
    assert not (tmp_path / "run").exists()


def test_without_tensorboard_the_extra_is_named(corpus, tmp_path, monkeypatch):
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    asked = (corpus, "--out", tmp_path / "run", *TINY, "--steps", 2)
    failed = train(*asked, "--tensorboard", tmp_path / "board", fails=True)
    assert isinstance(failed.exception, InputError)
    assert "pellucid[tensorboard]" in str(failed.exception)


def test_the_talk_learns_while_one_looks(tmp_path):
    done = train("talk", "--out", tmp_path / "talk", "--steps", 200)
    assert "step 50 writes: The power clapper" in done.stderr
    assert "step 200 writes: The power clapper went straight to jail" in done.stderr
    model = tmp_path / "talk" / "model"
    assert f'pellucid walk "The power clapper" --model {model}' in done.stdout
    made = pellucid.load(model)
    shipped = pellucid.load("talk")
    assert made.tokenizer.encode("The power clapper") == shipped.encode("The power clapper")
    assert made.card["command"] == shipped.card["command"] == "pellucid train talk"
    assert set(made.card) == set(shipped.card)
    assert made.card["loss"] == pytest.approx(shipped.card["loss"], abs=0.02)
    assert made.card["loss_floor"] == shipped.card["loss_floor"]


def test_the_talk_has_one_recipe(tmp_path):
    """Its first steps, whose losses a change to it would alter."""
    from pellucid.train.config import TalkConfig
    from pellucid.train.run import trainer_for

    trainer = trainer_for(TalkConfig(out=str(tmp_path)))
    losses = [report.loss for report, _ in zip(trainer, range(20), strict=False)]
    assert [losses[0], losses[9], losses[19]] == pytest.approx(TALK, abs=1e-3)


def test_readme_says_it():
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert "pellucid train texts/ --out run" in page
    assert "train-talk" not in page
