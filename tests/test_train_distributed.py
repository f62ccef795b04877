"""Two processes, started by torchrun, compute what one computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.errors import InputError
from pellucid.train.config import TrainConfig
from support import small_corpus
from support.skips import needs

torch = needs("torch")

from pellucid.train import state  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402

PROGRAM = """
import json, sys
from pathlib import Path
from pellucid.train.config import TrainConfig
from pellucid.train.run import trainer_for
steps = int(sys.argv[2])
trainer = trainer_for(TrainConfig.from_dict(json.loads(sys.argv[1])))
for report in trainer:
    if report.step == steps:
        break
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus.write(tmp_path_factory.mktemp("corpus") / "c", masked=True)


config = partial(small_corpus.config, micro_batch=2, batch=8, eval_rows=9)


def torchrun(run: TrainConfig, folder, steps=99):
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        str(program), json.dumps(run.to_dict()), str(steps),
    ]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("parallel", "optimizer", "tolerance"),
    [
        ("ddp", "adamw", 1e-5),
        ("fsdp", "adamw", 1e-5),
        ("fsdp", "muon", 1e-3),  # its products are in bfloat16: only the losses are compared
    ],
)
def test_two_processes_compute_what_one_does(corpus, tmp_path, parallel, optimizer, tolerance):
    alone = config(corpus, tmp_path / "one", optimizer=optimizer)
    list(trainer_for(alone))
    both = config(corpus, tmp_path / "two", parallel=parallel, optimizer=optimizer)
    # Interrupted and gone on with: the weights and moments are gathered and divided again.
    for steps in (4, 99):
        made = torchrun(both, tmp_path, steps)
        assert made.returncode == 0, made.stderr[-3000:]
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert [line["step"] for line in two] == [1, 2, 3, 4, 5, 6]
    for key in ("loss", "norm", "validation_loss"):
        mine = np.array([line[key] or 0 for line in one])
        theirs = np.array([line[key] or 0 for line in two])
        assert np.abs(mine - theirs).max() <= tolerance, key
    first, second = (checkpoint.load(tmp_path / name / "model") for name in ("one", "two"))
    for name, tensor in first.tensors.items() if optimizer == "adamw" else ():
        assert np.abs(tensor - second.tensors[name]).max() <= tolerance, name
    mine, theirs = (state.newest(tmp_path / name)[0].optimizer for name in ("one", "two"))
    assert mine.keys() == theirs.keys()
    for name, moment in mine.items():
        assert moment.shape == theirs[name].shape, name
        assert optimizer == "muon" or np.abs(moment - theirs[name]).max() <= tolerance, name


def test_a_batch_that_cannot_be_shared_is_refused(corpus, tmp_path):
    made = torchrun(config(corpus, tmp_path / "x", batch=6, micro_batch=2), tmp_path)
    assert made.returncode != 0
    assert "must be a multiple of 2 processes times micro_batch (2)" in made.stderr


def test_an_unknown_way_is_refused(corpus, tmp_path):
    with pytest.raises(InputError, match="one of ddp, fsdp"):
        config(corpus, tmp_path, parallel="pipeline")
