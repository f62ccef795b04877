"""Two processes, started by torchrun, compute what one computes."""

from __future__ import annotations

import json
import os
import sys
from functools import partial

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.cli import pellucid as cli
from pellucid.data.corpus import open_corpus
from pellucid.errors import InputError
from pellucid.hparams import HParams
from pellucid.train.config import TrainConfig
from pellucid.weights import initialise
from support import small_corpus
from support.program import captured, invoke, python
from support.skips import needs

torch = needs("torch")

from pellucid.train import state  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402

# Two processes as torchrun's environment tells them apart, of one that has imported PyTorch, which
# takes seconds. Each run is broken off after 4 steps and gone on with.
PROGRAM = """
import json, os, socket, sys
from pellucid.errors import InputError
from pellucid.train.config import TrainConfig
from pellucid.train.run import trainer_for
from pellucid.train import distributed, language, trainer
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
child = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "1" if child == 0 else "0"
try:
    for run in json.loads(sys.argv[1]):
        for steps in (4, 99):
            for report in trainer_for(TrainConfig.from_dict(run)):
                if report.step == steps:
                    break
except InputError as error:
    sys.exit(str(error))
finally:
    code = 0 if child == 0 else os.waitpid(child, 0)[1]
sys.exit(code and f"the other process: {code}")
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus.write(tmp_path_factory.mktemp("corpus") / "c", masked=True)


config = partial(small_corpus.config, micro_batch=2, batch=8, eval_rows=9)


ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def by_two(runs: list[TrainConfig]):
    """One run after another, in two processes."""
    told = json.dumps([run.to_dict() for run in runs])
    return python(PROGRAM, told, env=os.environ | ENVIRONMENT, timeout=300)


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


WAYS = [
    ("ddp", "adamw", 1e-5),
    ("fsdp", "adamw", 1e-5),
    ("fsdp", "muon", 1e-3),  # its products are in bfloat16: only the losses are compared
]


@pytest.fixture(scope="module")
def shared(corpus, tmp_path_factory):
    """The folder of all runs by two processes, each in `parallel-optimizer`."""
    folder = tmp_path_factory.mktemp("shared")
    runs = [
        config(corpus, folder / f"{parallel}-{optimizer}", parallel=parallel, optimizer=optimizer)
        for parallel, optimizer, _ in WAYS
    ]
    made = by_two(runs)
    assert made.returncode == 0, made.stderr[-3000:]
    return folder


@pytest.mark.parametrize(("parallel", "optimizer", "tolerance"), WAYS)
def test_two_processes_compute_what_one_does(
    corpus, shared, tmp_path, parallel, optimizer, tolerance
):
    straight, divided = tmp_path / "one", shared / f"{parallel}-{optimizer}"
    list(trainer_for(config(corpus, straight, optimizer=optimizer)))
    one, two = log(straight), log(divided)
    assert [line["step"] for line in two] == [1, 2, 3, 4, 5, 6]
    for key in ("loss", "norm", "validation_loss"):
        mine = np.array([line[key] or 0 for line in one])
        theirs = np.array([line[key] or 0 for line in two])
        assert np.abs(mine - theirs).max() <= tolerance, key
    first, second = (checkpoint.load(run / "model") for run in (straight, divided))
    for name, tensor in first.tensors.items() if optimizer == "adamw" else ():
        assert np.abs(tensor - second.tensors[name]).max() <= tolerance, name
    mine, theirs = (state.newest(run)[0].optimizer for run in (straight, divided))
    assert mine.keys() == theirs.keys()
    for name, moment in mine.items():
        assert moment.shape == theirs[name].shape, name
        assert optimizer == "muon" or np.abs(moment - theirs[name]).max() <= tolerance, name


def test_a_batch_that_cannot_be_shared_is_refused(corpus, tmp_path):
    made = by_two([config(corpus, tmp_path / "x", batch=6, micro_batch=2)])
    assert made.returncode != 0
    assert "must be a multiple of 2 processes times micro_batch (2)" in made.stderr


def test_an_unknown_way_is_refused(corpus, tmp_path):
    with pytest.raises(InputError, match="one of ddp, fsdp"):
        config(corpus, tmp_path, parallel="pipeline")


def run_command(*arguments):
    """The command that docs/finetune.md shows."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "pellucid", *map(str, arguments)]
    return captured(command, env=os.environ | ENVIRONMENT, timeout=300)


def test_finetuning_under_torchrun_by_the_command_in_the_docs(corpus, tmp_path):
    tokenizer = open_corpus(corpus).tokenizer()
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=16, n_embd=16, n_head=2, n_layer=1)
    checkpoint.save(tmp_path / "M", hparams, initialise(hparams, 1), tokenizer)
    settings = ("--steps", 2, "--batch", 4, "--threads", 1, "--precision", "float32")
    asked = ("train", corpus, "--from", tmp_path / "M", "--aligned", *settings)
    made = run_command(*asked, "--out", tmp_path / "two")
    assert made.returncode == 0, made.stderr[-3000:]
    assert made.stdout.count("pellucid chat --model") == 1  # said once, not by each process
    alone = invoke(*asked, "--out", tmp_path / "one")
    assert alone.exit_code == 0, alone.exception
    one, two = ([line["loss"] for line in log(tmp_path / name)] for name in ("one", "two"))
    assert one == pytest.approx(two, abs=1e-5)


@pytest.mark.parametrize("verb", ["train", "prefer"])
def test_every_option_has_a_spelling_that_torchrun_lets_pass(verb):
    from torch.distributed.run import get_args_parser

    refused = []
    for parameter in cli.get_command(None, verb).params:
        passed = False
        options = [o for o in (*parameter.opts, *parameter.secondary_opts) if o.startswith("--")]
        for option in options:
            words = ["-m", "pellucid", verb, "corpus", option, "x"]
            try:
                passed |= get_args_parser().parse_args(words).training_script_args == words[2:]
            except SystemExit:
                refused.append(option)
        assert passed or not options, options
    assert set(refused) <= {"--start"}  # whose other spelling is --from
