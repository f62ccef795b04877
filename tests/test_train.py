"""The training loop: rows A and B of what a run must withstand, and that it learns."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import checkpoint, load
from pellucid.data.corpus import SplitWriter, open_corpus
from pellucid.data.prepare import write_corpus
from pellucid.errors import CheckpointError, InputError, TrainingError
from pellucid.hparams import HParams
from pellucid.train.config import TrainConfig
from pellucid.weights import initialise
from support import small_corpus
from support.skips import needs
from support.small_corpus import config

torch = needs("torch")

from pellucid.backend.torch import TorchBackend  # noqa: E402
from pellucid.train import state  # noqa: E402
from pellucid.train.module import GPTModule  # noqa: E402
from pellucid.train.optimizer import groups  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402
from pellucid.train.trainer import draws  # noqa: E402

GOLDEN = Path(__file__).parent / "golden" / "training_losses.json"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus.write(tmp_path_factory.mktemp("corpus") / "c")


@pytest.fixture(scope="module")
def masked_corpus(tmp_path_factory):
    return small_corpus.write(tmp_path_factory.mktemp("masked") / "c", masked=True)


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def moments(out: Path) -> dict[str, np.ndarray]:
    saved, wrong = state.newest(out)
    assert saved is not None
    assert wrong == []
    return saved.optimizer


# The model that trains is the model that chats


def test_the_module_computes_what_the_model_does():
    hparams = HParams(50, 12, 16, 4, 3)
    tensors = initialise(hparams, 1)
    module = GPTModule(hparams, tensors, TorchBackend(training=True))
    ids = np.random.default_rng(0).integers(0, 50, (2, 9))
    from pellucid.backend import get_backend
    from pellucid.model import Model
    from pellucid.weights import unflatten

    backend = get_backend("numpy")
    model = Model(hparams, unflatten(tensors, hparams), backend)
    expected = model.forward(ids)
    found = module(torch.from_numpy(ids)).detach().numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {
        name: t.shape for name, t in tensors.items()
    }


def test_gradients_equal_those_of_transformers():
    transformers = needs("transformers")
    hparams = HParams(61, 12, 16, 4, 2)
    tensors = initialise(hparams, 2)
    module = GPTModule(hparams, tensors, TorchBackend(training=True))
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=61,
            n_positions=12,
            n_embd=16,
            n_head=4,
            n_layer=2,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    theirs.transformer.load_state_dict(
        {name: torch.from_numpy(t) for name, t in tensors.items()}, strict=False
    )
    ids = torch.randint(0, 61, (3, 11), generator=torch.Generator().manual_seed(0))
    labels = ids[:, 1:].clone()
    labels[0, :4] = -100
    loss = module(ids[:, :-1], labels) / (labels != -100).sum()
    loss.backward()
    logits = theirs(ids[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, 61), labels.reshape(-1))
    expected.backward()
    assert abs(loss.item() - expected.item()) < 1e-6
    named = dict(theirs.transformer.named_parameters())
    for name, parameter in module.named_parameters():
        assert torch.allclose(parameter.grad, named[name].grad, atol=1e-6), name


@pytest.mark.parametrize("dropout", [0.0, 1e-12])  # another path, which drops nothing
def test_bfloat16_attention_equals_the_fused_one(dropout):
    backend = TorchBackend(training=True, dropout=dropout)
    q, k, v = torch.randn(3, 2, 3, 10, 8, generator=torch.Generator().manual_seed(0))
    narrow = backend.attend(*(x.bfloat16() for x in (q, k, v)), None, 0)
    wide = TorchBackend().attend(q, k, v, None, 0)
    assert narrow.dtype == torch.bfloat16
    assert (narrow.float() - wide).abs().max() < 0.03
    v[:, :, 6:] = 100.0  # no query sees a later key
    later = backend.attend(*(x.bfloat16() for x in (q, k, v)), None, 0)
    assert torch.equal(later[:, :, :6], narrow[:, :, :6])


# It learns


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_learns_and_what_it_learned_loads(corpus, tmp_path, optimizer):
    run = config(corpus, tmp_path, steps=60, optimizer=optimizer, save_every=0, eval_every=30)
    trainer = trainer_for(run)
    before = trainer.evaluate()
    reports = list(trainer)
    assert before is not None
    assert abs(before - np.log(290)) < 0.2
    assert reports[-1].validation_loss < before - 1.5
    gpt = load(tmp_path / "model")
    assert gpt.card["step"] == 60
    ids = np.asarray(trainer.task.corpus.validation.ids[:16], np.int64)
    with torch.inference_mode():
        trainer.backend.training = False
        expected = trainer.module(torch.from_numpy(ids[None]))[0].numpy()
    assert np.abs(gpt.logits(ids) - expected).max() < 1e-5
    best = load(tmp_path / "best")
    assert best.card["validation_loss"] == min(
        r.validation_loss for r in reports if r.validation_loss is not None
    )


def test_only_what_is_marked_is_learned(masked_corpus, tmp_path):
    trainer = trainer_for(config(masked_corpus, tmp_path, steps=1))
    inputs, targets = trainer.task.batches.take(0, 4)
    report = trainer.advance()
    module = GPTModule(trainer.hparams, initialise(trainer.hparams, 0), TorchBackend(training=True))
    logits = module(torch.from_numpy(inputs)).reshape(-1, trainer.hparams.n_vocab)
    flat = targets.reshape(-1)
    logprobs = torch.log_softmax(logits, -1)[torch.arange(flat.size), np.maximum(flat, 0)]
    expected = -logprobs[torch.from_numpy(flat != -100)].mean().item()
    assert 0.3 < (flat != -100).mean() < 0.7
    assert abs(report.loss - expected) < 1e-5


def test_norms_and_biases_are_not_decayed():
    hparams = HParams(20, 4, 8, 2, 1)
    module = GPTModule(hparams, initialise(hparams), TorchBackend(training=True))
    inner, rest = groups(module.named_parameters(), 0.3)
    assert [name for name, _ in inner] == [
        f"h.0.{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ]
    assert [group["weight_decay"] for group in rest] == [0.3, 0.0]
    assert len(rest[0]["params"]) == 2
    assert all(parameter.dim() == 1 for parameter in rest[1]["params"])
    assert len(inner) + 2 + len(rest[1]["params"]) == len(list(module.parameters()))


def test_finetuning_starts_from_the_checkpoint(corpus, tmp_path):
    list(trainer_for(config(corpus, tmp_path / "a", steps=20)))
    base = trainer_for(config(corpus, tmp_path / "a", steps=20)).evaluate()
    tuned = trainer_for(
        config(corpus, tmp_path / "b", start=str(tmp_path / "a" / "model"), n_embd=8)
    )
    assert tuned.step == 0
    assert tuned.hparams.n_embd == 16  # the checkpoint's own
    assert tuned.evaluate() == base


def test_rows_shorter_than_the_window(corpus, tmp_path):
    """As one finetunes a model with a long window: it stays what it is, and so does what is held
    out; a run goes on with the rows that it began with."""
    list(trainer_for(config(corpus, tmp_path / "a", steps=1)))
    start = {"start": str(tmp_path / "a" / "model"), "row": 5}
    tuned = trainer_for(config(corpus, tmp_path / "b", steps=4, save_every=2, **start))
    inputs, targets = tuned.task.take(0, 3)
    assert inputs.shape == targets.shape == (3, 5)
    assert dict(tuned.task.facts())["tokens"] == f"{4 * tuned.config.batch * 5:,}"
    losses = [report.loss for report in tuned]
    assert checkpoint.load(tmp_path / "b" / "model").hparams.n_ctx == tuned.hparams.n_ctx > 5
    halted = trainer_for(config(corpus, tmp_path / "c", steps=4, save_every=2, **start))
    begun = [halted.advance().loss for _ in range(2)]
    again = trainer_for(config(corpus, tmp_path / "c", steps=4, save_every=2, **start))
    assert begun + [report.loss for report in again] == losses
    with pytest.raises(InputError, match=r"row \(99\) is longer than the model's window of"):
        trainer_for(config(corpus, tmp_path / "d", row=99))


def test_a_finetuned_model_ends_its_texts_where_its_base_did(corpus, tmp_path):
    list(trainer_for(config(corpus, tmp_path / "a", steps=1)))
    base = checkpoint.load(tmp_path / "a" / "model")
    roles = checkpoint.Roles(bos=3, eos=(5, 7), pad=2)
    checkpoint.save(tmp_path / "base", base.hparams, base.tensors, base.tokenizer, roles=roles)
    for template, wanted in ((None, roles), ("plain", checkpoint.Roles(bos=3, pad=2))):
        out = tmp_path / f"run-{template}"
        start = {"start": str(tmp_path / "base"), "template": template}
        list(trainer_for(config(corpus, out, steps=1, **start)))
        saved, _ = state.newest(out)
        assert saved is not None
        assert checkpoint.load(out / "model").roles == saved.model.roles == wanted


def test_a_checkpoint_of_another_vocabulary_is_refused(corpus, tmp_path):
    with pytest.raises(InputError, match="a vocabulary of 288"):
        trainer_for(config(corpus, tmp_path, start="talk"))


# The rate


@given(st.integers(0, 50), st.integers(1, 400))
def test_the_rate_rises_then_falls(warmup, steps):
    run = config("c", "o", warmup=warmup, steps=steps, learning_rate=0.5, final_rate=0.1)
    rates = [run.rate(step) for step in range(steps)]
    assert max(rates) <= 0.5 + 1e-12
    assert all(a <= b for a, b in itertools.pairwise(rates[:warmup]))
    falling = rates[warmup:]
    assert all(a >= b for a, b in itertools.pairwise(falling))
    assert abs(run.rate(steps) - 0.05) < 1e-12 or steps <= warmup
    if warmup < steps:
        assert abs(rates[warmup] - 0.5) < 1e-12


# B1: killed at any moment


KILLED = """
import itertools, os, signal, sys
import numpy as np
from pathlib import Path
from pellucid.checkpoint import Checkpoint
from pellucid.hparams import HParams
from pellucid.train import state
from pellucid.weights import initialise

out, at = Path(sys.argv[1]), int(sys.argv[2])
hparams = HParams(20, 4, 8, 2, 1)
calls = 0

def counted(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

state.sweep(out)
for name in ("fsync", "rename", "open", "mkdir", "close"):
    setattr(os, name, counted(getattr(os, name)))
Path.rename = counted(Path.rename)
for step in itertools.count(int(sys.argv[3])):
    model = Checkpoint(hparams=hparams, tensors=initialise(hparams, step), path=out)
    state.save(out, model, {"0.0.m": np.full(3, step, np.float32)}, {"step": step})
    state.prune(out, 2)
    print(step, flush=True)
    if at == 0 and step == 5:
        sys.exit(str(calls))
"""


def steps_of_saving(out: Path) -> int:
    """How many moments to be killed at there are in six saves, the older ones pruned."""
    counted = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), "0", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return int(counted.stderr)


def killed_and_checked(out: Path, at: int, done: int) -> int:
    made = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), str(at), str(done + 1)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == -signal.SIGKILL, made.stderr
    printed = [int(line) for line in made.stdout.split()]
    newest, wrong = state.newest(out)
    assert wrong == []  # nothing partial lies under a final name
    last = printed[-1] if printed else done
    if newest is None:
        assert last == -1
        return -1
    step = int(newest.progress["step"])
    assert step in (last, last + 1)  # killed between the rename and the print
    assert (newest.optimizer["0.0.m"] == step).all()
    assert (newest.model.tensors["wte.weight"]
            == initialise(newest.model.hparams, step)["wte.weight"]).all()  # fmt: skip
    return step


def kill_often(out: Path, points: list[int]) -> None:
    done = -1
    for at in points:
        done = killed_and_checked(out, at, done)
        state.sweep(out)
        assert not list(out.rglob(".*.partial"))
    assert done > 5


def test_killed_while_it_saves(tmp_path):
    kill_often(tmp_path, [1, 3, 7, 12, 20, 33, 54, 61, 75, 88, 117, 149, 202])


@pytest.mark.slow
def test_killed_200_times_while_it_saves(tmp_path):
    most = steps_of_saving(tmp_path / "counted")
    assert most > 60
    points = np.random.default_rng(0).integers(1, most, 200, endpoint=True)
    kill_often(tmp_path / "killed", points.tolist())


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(corpus, tmp_path):
    list(trainer_for(config(corpus, tmp_path)))
    newest = tmp_path / "checkpoints" / "00000006"
    content = (newest / "optimizer.safetensors").read_bytes()
    (newest / "optimizer.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    trainer = trainer_for(config(corpus, tmp_path))
    assert trainer.step == 4
    assert len(trainer.damaged) == 1
    assert "00000006" in trainer.damaged[0]
    assert [report.step for report in trainer] == [5, 6]


@pytest.mark.parametrize("gone", ["progress.json", "optimizer.safetensors", "model"])
def test_a_checkpoint_without_one_of_its_files_is_written_again(corpus, tmp_path, gone):
    """The run stopped each time it came to that step again."""
    list(trainer_for(config(corpus, tmp_path)))
    wanted = (tmp_path / "model" / "model.safetensors").read_bytes()
    missing = tmp_path / "checkpoints" / "00000006" / gone
    shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
    trainer = trainer_for(config(corpus, tmp_path))
    assert [report.step for report in trainer] == [5, 6]
    assert missing.exists()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == wanted
    (missing.parent / "notes.txt").write_text("mine")  # which no checkpoint of ours has
    (missing.parent / "progress.json").unlink()
    with pytest.raises(CheckpointError, match="is not a training checkpoint"):
        list(trainer_for(config(corpus, tmp_path)))
    assert (missing.parent / "notes.txt").exists()


# B2: the disk is full


@pytest.mark.parametrize("limit", [100, 5_000, 20_000, 41_000])
def test_a_write_that_fails_leaves_what_was_there(corpus, tmp_path, limit):
    needs("POSIX")
    import resource

    trainer = trainer_for(config(corpus, tmp_path, steps=4, save_every=0, eval_every=0))
    trainer.advance()
    first = trainer.save()
    before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}
    trainer.advance()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(CheckpointError, match=r"unchanged|not written"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert {p: p.read_bytes() for p in first.rglob("*") if p.is_file()} == before
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000001"]
    trainer.save()  # and it goes on when there is room again
    newest, wrong = state.newest(tmp_path)
    assert wrong == []
    assert newest is not None
    assert newest.progress["step"] == 2


# B3: 20 steps = 10 + kill -9 + 10


STRAIGHT = """
import json, os, signal, sys
from pellucid.train.config import TrainConfig
from pellucid.train.run import trainer_for
run = TrainConfig.from_dict(json.loads(sys.argv[1]))
for report in trainer_for(run):
    if report.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_and_kill(run: TrainConfig, at: int) -> int:
    made = subprocess.run(
        [sys.executable, "-c", STRAIGHT, json.dumps(run.to_dict()), str(at)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert made.returncode in (0, -signal.SIGKILL), made.stderr
    return made.returncode


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_resume_is_bitwise(masked_corpus, tmp_path, optimizer):
    """With dropout and accumulation; killed in mid-epoch, two steps after a checkpoint; the
    epoch (about 100 rows) ends before step 20."""
    fields = {
        "steps": 20, "batch": 8, "micro_batch": 4, "dropout": 0.2, "save_every": 4,
        "optimizer": optimizer,
    }  # fmt: skip
    straight = config(masked_corpus, tmp_path / "straight", **fields)
    rows = list(trainer_for(straight))
    assert trainer_for(straight).task.batches.n_rows < 20 * 8
    resumed = config(masked_corpus, tmp_path / "resumed", **fields)
    assert run_and_kill(resumed, 10) == -signal.SIGKILL
    assert len(losses(tmp_path / "resumed")) == 10
    trainer = trainer_for(resumed)
    assert trainer.step == 8
    list(trainer)
    assert losses(tmp_path / "resumed") == losses(tmp_path / "straight") == [r.loss for r in rows]
    one, other = (checkpoint.load(tmp_path / name / "model") for name in ("straight", "resumed"))
    for name, tensor in one.tensors.items():
        assert (tensor == other.tensors[name]).all(), name
    mine, theirs = moments(tmp_path / "straight"), moments(tmp_path / "resumed")
    assert mine.keys() == theirs.keys()
    assert all((mine[name] == theirs[name]).all() for name in mine)


def test_dropout_and_seed_change_the_run(corpus, tmp_path):
    def first_losses(name, **changed):
        return [r.loss for r in trainer_for(config(corpus, tmp_path / name, steps=2, **changed))]

    plain = first_losses("a")
    assert first_losses("b") == plain
    assert first_losses("c", dropout=0.2) != plain
    assert first_losses("d", seed=1) != plain


def test_dropout_draws_by_seed_step_and_row_alone():
    """NumPy's SeedSequence, whose numbers never change; Python's hash() promises nothing."""
    assert draws(0, 0, 0) == 15793235383387715774
    drawn = {draws(seed, step, row) for seed in range(9) for step in range(9) for row in range(9)}
    assert len(drawn) == 9**3


def test_another_configuration_does_not_take_over_a_run(corpus, tmp_path):
    list(trainer_for(config(corpus, tmp_path, steps=2)))
    with pytest.raises(InputError, match="another learning_rate"):
        trainer_for(config(corpus, tmp_path, steps=2, learning_rate=0.5))
    trainer_for(config(corpus, tmp_path, steps=2, save_every=1, threads=None))  # these may change


def test_a_finished_run_takes_more_steps(corpus, tmp_path):
    list(trainer_for(config(corpus, tmp_path, steps=4)))
    moved = moments(tmp_path)
    more = trainer_for(config(corpus, tmp_path, steps=6))
    assert more.step == 4
    assert more.notes[0].startswith("the run had 4 steps and now has 6")
    reports = list(more)
    assert [report.step for report in reports] == [5, 6]
    assert [report.rate for report in reports] == [
        config("c", "o", steps=6).rate(n) for n in (4, 5)
    ]
    assert load(tmp_path / "model").card["step"] == 6
    assert moved.keys() == moments(tmp_path).keys()
    for fewer in (3, 5):
        with pytest.raises(InputError, match="another steps"):
            trainer_for(config(corpus, tmp_path, steps=fewer))


@pytest.mark.parametrize("file", ["train.ids", "train.documents", "train.learn", "validation.ids"])
def test_a_corpus_that_changed_in_its_place_is_refused(tmp_path, file):
    """At the same size, under the same card; before the first step and when a run goes on."""
    folder = small_corpus.write(tmp_path / "c", masked=True)
    run = config(folder, tmp_path / "run", steps=4)
    trainer = iter(trainer_for(run))
    next(trainer)
    trainer.close()
    content = bytearray((folder / file).read_bytes())
    at = 8 if file.endswith("documents") else 0
    content[at] ^= 1
    (folder / file).write_bytes(content)
    for out in ("run", "another"):
        with pytest.raises(InputError, match=rf"files {file.split('.')[0]}\.\* of .* have changed"):
            trainer_for(config(folder, tmp_path / out, steps=4))
    content[at] ^= 1
    (folder / file).write_bytes(content)
    trainer_for(run)


# B4: the losses of a run, once and for all


def test_losses_are_as_they_were(corpus, tmp_path):
    found = [
        r.loss for r in trainer_for(config(corpus, tmp_path, steps=10, batch=8, micro_batch=4))
    ]
    if not GOLDEN.exists():  # written once, by hand: delete it to write it again
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found) + "\n")
    assert np.abs(np.array(found) - json.loads(GOLDEN.read_text())).max() <= 1e-5


# B5: not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_stops_it_before_the_step(corpus, tmp_path, value, where):
    trainer = trainer_for(config(corpus, tmp_path))
    trainer.advance()
    before = {name: p.detach().clone() for name, p in trainer.module.named_parameters()}
    kept = {name: x.clone() for name, x in trainer.optimizers.tensors().items()}
    if where == "gradient":
        trainer.module.wpe.weight.register_hook(lambda gradient: gradient * value)
    else:
        whole = trainer.called
        trainer.called = lambda *args: whole(*args) * value
    with pytest.raises(TrainingError, match="not finite") as error:
        trainer.advance()
    assert "step 2" in str(error.value)
    for name, parameter in trainer.module.named_parameters():
        assert torch.equal(parameter, before[name]), name
    for name, moment in trainer.optimizers.tensors().items():
        assert torch.equal(moment, kept[name]), name
    assert len(losses(tmp_path)) == 1


# B6: clipping, accumulation, outliers


def test_the_gradient_is_clipped(corpus, tmp_path):
    trainer = trainer_for(config(corpus, tmp_path, clip=0.01))
    inputs, targets = trainer.task.batches.take(0, 4)
    trainer.gradients(trainer.tensors((inputs, targets)), targets.size)
    norm = trainer.clipped_norm()
    after = torch.sqrt(sum((p.grad**2).sum() for p in trainer.module.parameters()))
    assert norm > 0.01
    assert float(after) <= 0.01 * (1 + 1e-6)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_micro_batches_make_one_batch(masked_corpus, tmp_path, micro_batch):
    gradients = []
    for size in (None, micro_batch):
        trainer = trainer_for(
            config(masked_corpus, tmp_path / str(size), batch=8, micro_batch=size)
        )
        inputs, targets = trainer.task.batches.take(0, 8)
        rows = trainer.tensors((inputs, targets))
        trainer.gradients(rows, int((targets != -100).sum()))
        gradients.append([p.grad.clone() for p in trainer.module.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_micro_batch_without_a_target_counts_for_nothing(masked_corpus, tmp_path):
    trainer = trainer_for(config(masked_corpus, tmp_path, batch=4, micro_batch=1))
    inputs, targets = trainer.task.batches.take(0, 4)
    targets[1:] = -100
    n = int((targets != -100).sum())
    rows = trainer.tensors((inputs, targets))
    loss = float(trainer.gradients(rows, n))
    gradients = [p.grad.clone() for p in trainer.module.parameters()]
    alone = trainer_for(config(masked_corpus, tmp_path / "alone", batch=1))
    first = tuple(x[:1] for x in rows)
    assert float(alone.gradients(first, n)) == pytest.approx(loss, abs=1e-6)
    for one, other in zip(gradients, alone.module.parameters(), strict=True):
        assert torch.allclose(one, other.grad, atol=1e-7)


# Rows that teach nothing


@pytest.fixture(scope="module")
def long_turns(tmp_path_factory):
    """Short exchanges, and users' turns that fill many rows."""
    folder = tmp_path_factory.mktemp("long")
    rows = []
    for n in range(40):
        asked = f"what is {n}? " * (60 if n % 4 == 0 else 1)
        turns = [{"role": "user", "text": asked}, {"role": "assistant", "text": f"it is {n}"}]
        rows.append(json.dumps({"turns": turns}))
    (folder / "talks.jsonl").write_text("\n".join(rows), encoding="utf-8")
    write_corpus([folder / "talks.jsonl"], folder / "c", n_vocab=290, validation=0.2)
    return folder / "c"


@pytest.mark.parametrize("aligned", [False, True])
def test_very_long_turns_stop_no_run(long_turns, tmp_path, aligned):
    fields = {"steps": 30, "batch": 4, "micro_batch": 1, "save_every": 10, "aligned": aligned}
    straight = trainer_for(config(long_turns, tmp_path / "straight", **fields))
    left_out = straight.task.batches.n_left_out
    assert left_out > 20
    of = left_out + straight.task.batches.n_rows
    note = f"{left_out} of {of} rows hold nothing that is to be learned, and are left out"
    assert straight.notes == [note]
    assert all(np.isfinite(report.loss) for report in straight)
    assert load(tmp_path / "straight" / "model").card["rows"]["left_out"] == left_out
    stopped = trainer_for(config(long_turns, tmp_path / "stopped", **fields))
    for _ in range(13):
        stopped.advance()
    list(trainer_for(config(long_turns, tmp_path / "stopped", **fields)))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "straight")


def test_why_there_is_no_held_out_loss_is_said(corpus, masked_corpus, tmp_path):
    for name, validation, told in (
        ("short", slice(0, 9), "the held-out text has 9 tokens, and a row needs 17"),
        ("none", slice(0, 0), "the held-out text is empty"),
        ("masked", slice(None), "nothing in the held-out text is to be learned"),
    ):
        folder = tmp_path / name
        shutil.copytree(masked_corpus, folder)
        card = json.loads((folder / "card.json").read_text())
        opened = open_corpus(masked_corpus).validation
        with SplitWriter(folder, "validation", card["n_vocab"], masked=True) as writer:
            ids = opened.ids[validation]
            writer.add(ids, [0] * len(ids))
            card["splits"]["validation"] = writer.counts()
        (folder / "card.json").write_text(json.dumps(card))
        trainer = trainer_for(config(folder, tmp_path / f"run {name}", steps=3))
        (note,) = trainer.notes
        assert note.startswith(f"no held-out loss: {told}")
        assert [report.validation_loss for report in trainer] == [None] * 3
    assert not trainer_for(config(corpus, tmp_path / "run", steps=3)).notes
    assert not trainer_for(config(tmp_path / "none", tmp_path / "other", eval_every=0)).notes


def test_an_outlier_is_measured_in_deviations(corpus, tmp_path):
    trainer = trainer_for(config(corpus, tmp_path, steps=200, save_every=0, eval_every=0))
    assert trainer.advance().outlier is None
    trainer.progress.losses.extend([1.0, 3.0] * 64)  # mean 2, deviation 1
    report = trainer.advance()
    assert report.outlier == pytest.approx(report.loss - 2.0)


# A configuration


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch": 4, "micro_batch": 3}, "multiple of micro_batch"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"dropout": 1.0}, r"in \[0, 1\)"),
        ({"optimizer": "sgd"}, "one of adamw, muon"),
        ({"steps": "10"}, "must be int"),
        ({"steps": True}, "must be int"),
        ({"final_rate": 2.0}, "fraction"),
    ],
)
def test_a_wrong_field_is_named(changed, message):
    with pytest.raises(InputError, match=message):
        config("c", "o", **changed)


def test_a_configuration_survives_toml(tmp_path):
    run = config("c", 'a "quoted" \\ path', dropout=0.1, start="ü")
    path = tmp_path / "run.toml"
    path.write_text(run.to_toml(), encoding="utf-8")
    assert TrainConfig.read(path) == run
    assert TrainConfig.read(path, {"steps": 9}).steps == 9
    path.write_text("steps = 3\nlerning_rate = 1\n")
    with pytest.raises(InputError, match="unknown fields: lerning_rate"):
        TrainConfig.read(path)
    path.write_text("steps 3")
    with pytest.raises(InputError, match="no TOML"):
        TrainConfig.read(path)
